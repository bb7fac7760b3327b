"""`nacre build`: an image from a Dockerfile."""

from __future__ import annotations

import os

from ..words.errors import BuildFailed, DockerfileError, Unsupported, UsageError
from .options import Command, choice, flag, many, name_and_value, number, size, text
from .run import limits, limits_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Built
    from ..engine.archives import Origin
    from ..engine.outputs import BuildOutput, OutputResult
    from ..images.attestations.wanted import AttestationOptions
    from ..services.build import BuildOptions
    from ..words.oci import Platform
    from ..words.progress import Progress
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Build, set the names, write the outputs, and print the id of the image with --quiet."""
    if args.check or args.call != "build" or args.print_dockerfile or args.explain or args.verify:
        return tell(context, args, origins(context, args))
    built, results = perform(context, args, origins(context, args))
    _tell(context, args, built, results)
    return 0


def origins(context: Context, args: Args) -> tuple[Origin, Origin]:
    """The context and the Dockerfile, where `-` is standard input."""
    folder, file = (context.input if path == "-" else path for path in (args.positionals[0], args.file))
    return folder, file


def tell(context: Context, args: Args, given: tuple[Origin, Origin]) -> int:
    """What the Dockerfile says of itself, what a build would do, or whether it does the same twice."""
    from .build_call import call, explain, verify

    options = _options(context, args, _wanted(context, args))
    _discarded(context, args)
    if args.explain and args.verify:
        raise UsageError("--explain and --verify ask for different things")
    _refuse_reports(args)
    if not args.explain and not args.verify:
        return call(context, args, options, given)
    try:
        return (explain if args.explain else verify)(context, args, options, given)
    except (DockerfileError, BuildFailed) as error:
        show(context, error)
        raise


def _refuse_reports(args: Args) -> None:
    """--advice FORM=FILE is about a build; a check has what needs none."""
    is_check = not (args.explain or args.verify)
    if found := [word for word in args.advice if "=" in word or (word == "all" and not is_check)]:
        raise UsageError(
            f"--advice {found[0]}: nothing is built", hint="use --call=check,format=sarif for a check"
        )


def perform(
    context: Context, args: Args, given: tuple[Origin, Origin]
) -> tuple[Built, list[OutputResult]]:  # fmt: skip
    """Build, set the names and write the outputs."""
    options, wanted = wishes(context, args)
    return _build(context, args, options, wanted, given)


def wishes(context: Context, args: Args) -> tuple[BuildOptions, list[BuildOutput]]:
    """What is to be built, and what becomes of it; outputs, if there are any, give the names."""
    platforms = _wanted(context, args)
    options = _options(context, args, platforms)
    _discarded(context, args)
    wanted = _outputs(context, args, platforms, attested=bool(options.attestations))
    return options.replace(tags=()) if wanted else options, wanted


def _wanted(context: Context, args: Args) -> list[Platform]:
    return _platforms(args.platform or [*filter(None, [context.environment.get(_PLATFORM)])])


def _build(
    context: Context, args: Args, options: BuildOptions, wanted: list[BuildOutput],
    given: tuple[Origin, Origin],
) -> tuple[Built, list[OutputResult]]:  # fmt: skip
    from time import monotonic

    started, results = monotonic(), []
    with context.build_progress(quiet=args.quiet, form=args.progress) as progress:
        if args.on_fail:
            from .build_call import standing

            options = options.replace(on_fail=standing(context, args, progress))
        try:
            built = context.engine.build(
                given[0], dockerfile=given[1], options=options, pull="always" if args.pull else "missing",
                progress=progress,
            )  # fmt: skip
        except (DockerfileError, BuildFailed) as error:
            progress.close()
            if not args.on_fail or not getattr(error, "step", ""):
                show(context, error)
            raise
        if wanted:
            from .buildoutput import write

            results = write(context, built, wanted, progress)
        progress.line(summary(built, args, f" in {monotonic() - started:.2f}s"))
        advise(built, args, progress)
    return built, results


def _outputs(
    context: Context, args: Args, platforms: list[Platform], *, attested: bool
) -> list[BuildOutput]:  # fmt: skip
    """What is to be done with the images; [] where naming them is all."""
    if not (attested or args.output or args.push or args.annotation or args.metadata_file):
        return []
    from .buildoutput import outputs

    return outputs(context, args, len(platforms) or 1, attested=attested)


def advise(built: Built, args: Args, progress: Progress) -> None:
    """The lines about what could be done better, if anything."""
    if built.advice:
        from .advice import show_advice

        show_advice(progress, built.advice, args)


def _tell(context: Context, args: Args, built: Built, results: list[OutputResult]) -> None:
    """The files about a build, and the id."""
    if args.advice:
        from .advice import write_reports

        write_reports(context, built.advice, args)
    if not (args.iidfile or args.metadata_file or args.quiet):
        return
    from .buildoutput import image_id, write_metadata

    if args.iidfile:
        _write(args.iidfile, image_id(built, results))
    if args.metadata_file:
        write_metadata(context, args.metadata_file, built, results)
    if args.quiet:
        context.print(image_id(built, results))


def _options(context: Context, args: Args, platforms: list[Platform]) -> BuildOptions:
    from ..services.build import BuildOptions
    from ..words.oci import OCI, form_of
    from ..words.reference import Reference

    return BuildOptions(
        target=args.target,
        arguments=tuple(_arguments(context, args.build_arg)),
        tags=tuple(map(Reference.parse, args.tag)),
        labels=tuple(name_and_value(label) for label in args.label),
        no_cache=args.no_cache,
        platform=platforms[0] if platforms else None,
        platforms=tuple(platforms),
        network="host" if args.network == "default" else args.network,
        hosts=tuple(args.add_host),
        shm_size=args.shm_size,
        secrets=tuple(_secret(context, item) for item in args.secret),
        form=form_of(args.format or OCI),
        limits=limits_of(context, args),
        ulimits=tuple(args.ulimit),
        parallel=_parallel(args.parallel),
        allow=tuple(args.allow),
        agents=tuple(_agent(context, item) for item in args.ssh),
        cache_from=tuple(_caches(context, "--cache-from", args.cache_from)),
        cache_to=tuple(_caches(context, "--cache-to", args.cache_to)),
        no_cache_filter=tuple(name for names in args.no_cache_filter for name in names.split(",")),
        contexts=_contexts(args.build_context),
        base=args.base,
        extras=tuple(args.extra),
        groups=tuple(args.group),
        squash=args.squash,
        attestations=_attestations(args),
        advice=_advice(args.advice),
        metadata=_metadata(context) if args.metadata_file else "",
    )


def _metadata(context: Context) -> str:
    """How much provenance the file has, "" for none. Raises UsageError."""
    wanted = context.environment.get(_METADATA) or "min"
    if wanted not in ("min", "max", "disabled"):
        raise UsageError(f"{_METADATA}={wanted[:80]}: expected min, max or disabled")
    return wanted if wanted != "disabled" else ""


def _advice(written: list[str]) -> str:
    if not written:
        return "auto"
    from .advice import read_advice

    return read_advice(written).mode


def _contexts(written: list[str]) -> tuple[tuple[str, str], ...]:
    """docker's NAME=VALUE; the last of a name wins."""
    if not written:
        return ()
    from ..grammars.dockerfile.namedcontext import read_context

    return tuple(dict(map(read_context, written)).items())


def _parallel(wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise UsageError(f"--parallel {wanted}: at least one step must be able to run")
    return wanted or 0


def _platforms(written: list[str]) -> list[Platform]:
    """All that --platform names; `local` is this machine."""
    from ..words.oci import Platform

    names = [name for words in written for name in words.split(",")]
    found = [Platform.host() if name == "local" else Platform.parse(name) for name in names]
    return list(dict.fromkeys(found))


def _secret(context: Context, written: str) -> tuple[str, bytes]:
    """docker's `id=NAME[,src=FILE|,env=NAME]`; without a source the variable or the file called NAME."""
    fields = {key.strip(): value for key, _, value in (item.partition("=") for item in written.split(","))}
    key, name = fields.get("id", ""), fields.get("env", "")
    path = fields.get("src") or fields.get("source") or ""
    if not key or fields.get("type", "file") not in ("file", "env"):
        raise UsageError(
            f"invalid --secret {written!r}", hint="expected id=NAME,src=FILE or id=NAME,env=NAME"
        )
    if fields.get("type") == "env":
        name, path = name or path or key, ""
    if not path and (name or key) in context.environment:
        return key, os.fsencode(context.environment[name or key])
    if name:
        raise UsageError(f"secret {key}: there is no variable {name} in the environment")
    return key, _content(key, path or key)


def _agent(context: Context, written: str) -> tuple[str, str]:
    """docker's `ID[=SOCKET|KEY[,KEY]]`, without either the agent of the environment."""
    key, _, path = written.partition("=")
    path = path or context.environment.get("SSH_AUTH_SOCK", "")
    if not key or not path:
        raise UsageError(
            f"invalid --ssh {written!r}: no socket", hint="start ssh-agent, which sets SSH_AUTH_SOCK"
        )
    paths = [path] if os.path.exists(path) else path.split(",")
    for each in paths:
        try:
            os.stat(each)
        except OSError as error:
            raise UsageError(f"--ssh {written}: {each}: {(error.strerror or '').lower()}") from None
    return key, ",".join(map(os.path.abspath, paths))


def _caches(context: Context, option: str, written: list[str]) -> list[str]:
    """As written; GitHub's gets what a job knows of it, and is left out elsewhere, as with buildx."""
    found = []
    for place in written:
        if "type=gha" in place.split(",") and "token=" not in place:
            said = {name: context.environment.get(f"ACTIONS_{name}", "") for name in _ACTIONS}
            if missing := [f"ACTIONS_{name}" for name, value in said.items() if not value]:
                context.warn(f"WARNING: {option} type=gha ignored: {missing[0]} is not set")
                continue
            place += f",url_v2={said['RESULTS_URL']},token={said['RUNTIME_TOKEN']}"
        found.append(place)
    return found


def _content(key: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_SECRET + 1)
    except OSError as error:
        raise UsageError(f"secret {key}: cannot read {path}: {(error.strerror or '').lower()}") from None
    if len(data) > _MAX_SECRET:
        raise UsageError(f"secret {key}: {path} has more than {_MAX_SECRET} bytes")
    return data


def warn_of_builder(context: Context, args: Args) -> None:
    """Say that --builder is not obeyed."""
    if args.builder:
        context.warn(f"WARNING: --builder {args.builder} ignored: there is one builder")


def _discarded(context: Context, args: Args) -> None:
    """Say what is not obeyed, and refuse what would change the result."""
    if args.disable_content_trust is False:
        raise Unsupported("--disable-content-trust=false: signatures are not verified")
    warn_of_builder(context, args)
    _without_effect(context, args)


def _without_effect(context: Context, args: Args) -> None:
    """Name the flags that ask for what never happens here."""
    never = {
        "--rm=false": (not args.rm, "a build never leaves containers behind"),
        "--load=false": (not args.load, "the image is always in the store"),
        "--compress": (args.compress, "the context is never sent"),
        "--security-opt": (args.security_opt, "--allow decides what a step may do"),
    }
    for written, (given, why) in never.items():
        if given:
            context.warn(f"WARNING: {written} has no effect: {why}")


def _attestations(args: Args) -> tuple[AttestationOptions, ...]:
    if not (args.attest or args.sbom or args.provenance):
        return ()
    from .attestations import attestations

    return attestations(args)


def _arguments(context: Context, written: list[str]) -> list[tuple[str, str]]:
    """NAME=VALUE, or NAME alone for what the environment says, if it says anything.

    SOURCE_DATE_EPOCH of the environment is one without being named, as with buildx.
    """
    epoch = context.environment.get("SOURCE_DATE_EPOCH", "")
    found = [("SOURCE_DATE_EPOCH", epoch)] if epoch else []
    for item in written:
        name, equals, value = item.partition("=")
        if not name:
            raise UsageError(f"invalid --build-arg {item!r}: expected NAME[=VALUE]")
        if equals or name in context.environment:
            found.append((name, value if equals else context.environment[name]))
    return found


def summary(result: Built, args: Args, time: str = "") -> str:
    """The last line of a build."""
    names = ", ".join(args.tag) or result.image.id.short
    steps = f"{result.ran} step{'s' * (result.ran != 1)} run, {result.cached} cached"
    if not result.ran and not result.cached:
        steps = "no steps"
    elif not result.ran:
        steps = f"nothing changed ({result.cached} cached)"
    return f"built {names}{time}: {steps}"


def show(context: Context, error: DockerfileError | BuildFailed) -> None:
    """The line with a mark under the fault, or what a step that failed wrote, and its lines."""
    if isinstance(error, BuildFailed):
        from .build_call import failure

        for line in failure(error):
            context.warn(line)
    elif error.source:
        line = "".join(
            char if char.isprintable() or char == "\t" else "\ufffd"
            for char in error.source[: error.column + _EXCERPT]
        )
        blanks = "".join("\t" if char == "\t" else " " for char in line[: error.column - 1])
        context.warn(f" {error.line} | {line}")
        context.warn(f" {' ' * len(str(error.line))} | {blanks}^")


def _write(path: str, data: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(data)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or '').lower()}") from None


_EXCERPT = 160
"""Characters of a line that are shown after its fault."""
_ACTIONS = ("RESULTS_URL", "RUNTIME_TOKEN")
_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
_METADATA = "BUILDX_METADATA_PROVENANCE"
_MAX_SECRET = 500 << 10  # as BuildKit
BUILDER = text("--builder", "Ignored with a warning: there is one builder", hidden=True)
_IGNORED = (
    flag("--rm", "Accepted: a build never leaves containers behind", default=True, hidden=True),
    flag("--force-rm", "Accepted: a build never leaves containers behind", hidden=True),
    flag("--compress", "Ignored with a warning: the context is never sent", hidden=True),
    BUILDER,
    choice("--isolation", "Accepted: Linux has only one", ("", "default"), hidden=True),
    flag("--disable-content-trust", "Accepted: has no effect", default=True, hidden=True),
    flag("-D, --debug", "Accepted: nacre --debug build shows the traceback of an error", hidden=True),
    many("--security-opt", "Ignored with a warning: see --allow", hidden=True),
    flag("--squash", "Squash newly built layers into a single new layer", hidden=True),
)
_LIMITS = (
    *limits(
        "memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems",
        "cgroup-parent",
    ),
    many("--ulimit", "Ulimit options (NAME=SOFT[:HARD])", type="ulimit", kind="ulimit"),
)  # fmt: skip

COMMAND = Command(
    arguments="PATH | URL | -",
    run=run,
    options=(
        many("--add-host", "Add a custom host-to-IP mapping (host:ip)", kind="host"),
        many(
            "--advice",
            "Say what could be smaller or safer: auto (new layers), all, none, or sarif=FILE, github=FILE, "
            "json=FILE, text=FILE",
            type="stringArray",
        ),
        many(
            "--allow",
            'Allow extra privileged entitlement ("network.host", "security.insecure")',
            type="stringArray",
        ),
        many("--annotation", "Add annotation to the image", type="stringArray"),
        text("--base", "Base image of a Python project without a Dockerfile (default: host:python3)"),
        many("--build-arg", "Set build-time variables (NAME=VALUE, or NAME from your environment)"),
        many(
            "--build-context",
            "Additional build contexts (NAME=PATH, a URL, docker-image:// or oci-layout://)",
            type="stringArray",
        ),
        text(
            "--call",
            "Evaluate the build: check, outline, targets or dockerfile (METHOD[,format=json])",
            default="build",
        ),
        flag("--explain", "Say which steps would run and why, instead of building"),
        flag("--verify", "Build twice, the second time without cache, and list the files that differ"),
        flag("--check", "Check the Dockerfile instead of building (same as --call=check)"),
        many(
            "--cache-from",
            "External cache sources (IMAGE, type=registry,ref=REF, type=local,src=DIRECTORY or type=gha)",
            kind="cache",
        ),
        many(
            "--cache-to",
            "Cache export destinations (type=registry,ref=REF, type=local,dest=DIRECTORY, inline or gha)",
            kind="cache",
        ),
        many("--extra", "Install an extra of a Python project without a Dockerfile"),
        text("-f, --file", 'Name or URL of the Dockerfile (default: "PATH/Dockerfile"; - is standard input)'),
        text(
            "--format", "Manifest format: oci, or docker for registries that support no other", default="oci"
        ),
        many("--group", "Install a dependency group of a Python project without a Dockerfile"),
        text("--iidfile", "Write the image ID to a file", type="file"),
        many("--label", "Set metadata for an image", kind="label"),
        flag("--load", "Shorthand for --output=type=docker: the image is always in the store", default=True),
        text("--metadata-file", "Write build result metadata to a file", type="file"),
        choice("--network", "Network of RUN instructions", ("default", "host", "none"), default="default"),
        flag("--no-cache", "Do not use cache when building the image"),
        many("--no-cache-filter", "Do not cache specified stages", type="stringArray"),
        many("--platform", "Set target platform for build", type="stringArray"),
        number(
            "--parallel", "Number of steps that may run at once (default: 4 for each processor, at least 8)"
        ),
        flag("--print-dockerfile", "Print the Dockerfile that does what the build of a Python project does"),
        choice(
            "--progress",
            "Set type of progress output",
            ("auto", "plain", "tty", "quiet", "none", "rawjson", "json"),
            default="auto",
        ),
        many("-o, --output", 'Output destination (format: "type=local,dest=path")', type="stringArray"),
        choice("--on-fail", "Open a shell in the root of a RUN that fails", ("", "shell")),
        flag("--pull", "Always attempt to pull all referenced images"),
        flag("--push", "Shorthand for --output=type=registry"),
        flag("-q, --quiet", "Suppress the build output and print image ID on success"),
        many("--secret", "Secret for RUN --mount=type=secret (id=NAME,src=FILE or id=NAME,env=NAME)"),
        size("--shm-size", "Size of /dev/shm of RUN instructions"),
        many("-t, --tag", 'Name and optionally a tag (format: "name:tag")', type="stringArray"),
        many("--ssh", "SSH agent for RUN --mount=type=ssh (default, ID=SOCKET, or ID=KEY)"),
        text("--target", "Set the target build stage to build"),
        *_IGNORED,
        *_LIMITS,
        many(
            "--attest",
            'Attestation parameters (format: "type=sbom" or "type=provenance,mode=max")',
            type="stringArray",
        ),
        text("--provenance", 'Shorthand for "--attest=type=provenance"'),
        text("--sbom", 'Shorthand for "--attest=type=sbom"'),
    ),
    details=(
        "PATH is the directory to build from, or a tar of it; - reads a tar, or only a Dockerfile, from "
        "STDIN. A URL is a git repository (URL#REF:DIRECTORY), a tar, or a Dockerfile."
    ),
)
