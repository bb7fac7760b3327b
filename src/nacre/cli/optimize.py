"""`nacre optimize`: put beside an image in its registry what makes it start lazily faster."""

from __future__ import annotations

from ..words.errors import NotFound, StoreError, UsageError
from ..words.reference import Reference
from .import_ import created
from .options import Command, flag, many, text
from .program import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.optimizing import RecordedReads
    from ..engine.options import ContainerOptions
    from ..grammars.accessprofile import AccessProfile
    from .context import Context
    from .options import Args

_ENDED_BY_USER = (130, 143)
"""Exit codes after SIGINT and SIGTERM, by which a user ends a service that has begun."""


def run(context: Context, args: Args) -> int:
    """Run the command, then push what it read; the exit code of a command that failed."""
    image, *command = args.positionals
    reference = Reference.parse(image)
    if reference.digest is not None:
        raise UsageError("cannot push beside a digest reference", hint="name a tag")
    if args.recorded:
        return _keep(context, args, image, _known(context, image, command))
    done = _recorded(context, args, image, command[command[:1] == ["--"] :])
    if done.exit_code and not done.stopped and done.exit_code not in _ENDED_BY_USER:
        context.warn(f"The command ended with exit code {done.exit_code}: nothing is kept of what it read")
        return done.exit_code
    return _keep(context, args, image, done.profile)


def _known(context: Context, image: str, command: list[str]) -> AccessProfile:
    """What was read while the image came lazily."""
    if command:
        raise UsageError("--recorded runs no command")
    profile = context.engine.registries.recorded(image)
    if profile is None:
        raise NotFound(
            f"nothing was recorded of {image}",
            hint=f"run it while it comes lazily, or record a command with: nacre optimize {image} -- COMMAND",
        )
    return profile


def _keep(context: Context, args: Args, image: str, profile: AccessProfile) -> int:
    _say(context, profile)
    if args.output:
        _write(args.output, profile.encode())
        return 0
    context.print(str(context.engine.registries.optimize(image, profile, created=created(context))))
    return 0


def _recorded(context: Context, args: Args, image: str, command: list[str]) -> RecordedReads:
    from ..ground.sandbox import Stdio

    context.stdout.flush()
    stdio = Stdio(0 if args.interactive else -1, 2, 2)
    seconds = int(getattr(args, "for") or 0) / 1e9
    return context.engine.containers.record(
        image, command, _options(context, args), stdio=stdio, seconds=seconds
    )


def _options(context: Context, args: Args) -> ContainerOptions:
    from ..engine.options import ContainerOptions

    entrypoint = ((args.entrypoint,) if args.entrypoint else ()) if "entrypoint" in args.given else None
    network, *networks = args.network or ("default",)
    return ContainerOptions(
        entrypoint=entrypoint, environment=tuple(environment(context, args)), user=args.user,
        working_dir=args.workdir, volumes=tuple(args.volume), mounts=tuple(args.mount),
        tmpfs=tuple(args.tmpfs), network=network, networks=tuple(networks), publish=tuple(args.publish),
        interactive=args.interactive,
    )  # fmt: skip


def _say(context: Context, profile: AccessProfile) -> None:
    from .output import human_size

    context.warn(
        f"Read {human_size(profile.size)} in {len(profile.reads)} parts of {len(profile.layers)} layers"
    )


def _write(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None


COMMAND = Command(
    "IMAGE [COMMAND] [ARG...]",
    run,
    options=(
        text("--entrypoint", "Overwrite the default ENTRYPOINT of the image (also drops its CMD)"),
        many("-e, --env", "Set environment variables (NAME=VALUE, or NAME from your environment)"),
        many("--env-file", "Read in a file of environment variables"),
        text(
            "--for",
            "Stop the container after this time (30s); else it ends by itself",
            type="duration",
            kind="duration",
        ),
        flag("-i, --interactive", "Keep STDIN open even if not attached"),
        many("--mount", "Attach a filesystem mount to the container", type="mount"),
        many("--network", "Network: default, bridge, host, none or one of yours", kind="network"),
        text("-o, --output", "Write the profile to a file instead of pushing it"),
        many("-p, --publish", "Publish a container's port(s) to the host", kind="publish"),
        flag("--recorded", "Run nothing: take what containers read while the image came lazily"),
        many("--tmpfs", "Mount a tmpfs directory"),
        text("-u, --user", "Username or UID (format: <name|uid>[:<group|gid>])"),
        many("-v, --volume", "Bind mount a volume (SOURCE:/PATH[:ro]), or create an anonymous one (/PATH)"),
        text("-w, --workdir", "Working directory inside the container"),
    ),
    interspersed=False,
    details="Needs root, Linux 6.14 or newer and the storage driver erofs. What the command writes goes to "
    "STDERR.",
)
