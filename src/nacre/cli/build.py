"""`nacre build`: an image from a Dockerfile."""

from __future__ import annotations

from ..words.errors import DockerfileError, UsageError
from .options import Command, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.image import Image
    from ..services.build import BuildOptions, BuildResult, Inputs
    from ..words.oci import Platform
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Build, set the names, and print the id of the image with --quiet."""
    from time import monotonic

    from ..services.build import Builder, load

    started = monotonic()
    options = _options(context, args)
    store = context.store
    stdin = context.input if "-" in (args.positionals[0], args.file) else None
    with (
        load(store, args.positionals[0], args.file, stdin=stdin) as inputs,
        context.progress(quiet=args.quiet, form=args.progress) as progress,
    ):
        builder = Builder(store, _resolver(context, args), progress, proxies=context.proxies())
        try:
            result = builder.build(inputs, options)
        except DockerfileError as error:
            _show(context, inputs, error)
            raise
        progress.line(_summary(result, args, monotonic() - started))
    if args.iidfile:
        _write(args.iidfile, str(result.image.id))
    if args.quiet:
        context.print(str(result.image.id))
    return 0


def _options(context: Context, args: Args) -> BuildOptions:
    from ..services.build import BuildOptions
    from ..words.oci import Platform
    from ..words.reference import Reference

    for tag in args.tag:
        Reference.parse(tag)
    if "," in args.platform:
        raise UsageError("this version builds for one platform at a time", hint="give --platform once")
    return BuildOptions(
        target=args.target,
        arguments=tuple(_arguments(context, args.build_arg)),
        tags=tuple(args.tag),
        labels=tuple(_pair(label) for label in args.label),
        no_cache=args.no_cache,
        platform=Platform.parse(args.platform) if args.platform else None,
        network="host" if args.network == "default" else args.network,
    )


def _arguments(context: Context, written: list[str]) -> list[tuple[str, str]]:
    """NAME=VALUE, or NAME alone for what the environment says, if it says anything."""
    found = []
    for item in written:
        name, equals, value = item.partition("=")
        if not name:
            raise UsageError(f"invalid --build-arg {item!r}: expected NAME[=VALUE]")
        if equals or name in context.environment:
            found.append((name, value if equals else context.environment[name]))
    return found


def _pair(label: str) -> tuple[str, str]:
    name, _, value = label.partition("=")
    return name, value


class _resolver:
    """How a name in FROM becomes an image: from the store, from this machine, else pulled."""

    def __init__(self, context: Context, args: Args) -> None:
        self._context, self._pull = context, "always" if args.pull else "missing"

    def __call__(self, name: str, platform: Platform | None) -> Image:
        return self._context.resolve(name, platform, pull=self._pull)


def _summary(result: BuildResult, args: Args, seconds: float) -> str:
    names = ", ".join(args.tag) or result.image.id.short
    steps = f"{result.ran} step{'s' * (result.ran != 1)} run, {result.cached} cached"
    if not result.ran:
        steps = f"nothing had changed, so nothing was run ({result.cached} cached)"
    return f"built {names} in {seconds:.2f}s: {steps}"


def _show(context: Context, inputs: Inputs, error: DockerfileError) -> None:
    """The line of the Dockerfile with a mark under the fault."""
    lines = inputs.dockerfile.split("\n")
    if error.file != inputs.name or not 1 <= error.line <= len(lines):
        return
    line, number = lines[error.line - 1].rstrip("\r"), str(error.line)
    line = line.encode("utf-8", "replace").decode()
    blanks = "".join("\t" if char == "\t" else " " for char in line[: error.column - 1])
    context.warn(f" {number} | {line}\n {' ' * len(number)} | {blanks}^")


def _write(path: str, data: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or '').lower()}") from None


_NETWORKS = ("default", "host", "none")

COMMAND = Command(
    arguments="PATH | -",
    run=run,
    options=(
        many("--build-arg", "Set build-time variables (NAME=VALUE, or NAME from your environment)"),
        text("-f, --file", 'Name of the Dockerfile (default: "PATH/Dockerfile"; - is standard input)'),
        text("--iidfile", "Write the image ID to a file", type="file"),
        many("--label", "Set metadata for an image"),
        text(
            "--network", "Network of RUN instructions", default="default", choices=("default", "host", "none")
        ),
        flag("--no-cache", "Do not use cache when building the image"),
        text("--platform", "Set target platform for build"),
        text("--progress", "Set type of progress output", default="auto", choices=("auto", "plain", "json")),
        flag("--pull", "Always attempt to pull all referenced images"),
        flag("-q, --quiet", "Suppress the build output and print image ID on success"),
        many("-t, --tag", 'Name and optionally a tag (format: "name:tag")', type="stringArray"),
        text("--target", "Set the target build stage to build"),
    ),
    details="PATH is a folder with the files to build from; - reads a tar of one, or a Dockerfile alone.",
)
