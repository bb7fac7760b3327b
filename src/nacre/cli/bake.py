"""`nacre buildx bake`: the builds that files describe."""

from __future__ import annotations

import json
import os
from io import BytesIO
from time import monotonic

from ..engine.baking import git_secrets, is_remote
from ..grammars.bake.attributes import record
from ..grammars.bake.plan import LINK, is_folder
from ..grammars.dockerfile.namedcontext import context_name
from ..words.errors import BuildFailed, DockerfileError, UsageError
from . import build
from .options import Command, flag, many, parse, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..engine import Built
    from ..engine.outputs import BuildOutput, OutputResult
    from ..engine.targets import BakeTarget
    from ..grammars.bake.definition import Definition
    from ..grammars.bake.plan import BakePlan
    from ..words.progress import Progress
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Read the files, then build the targets side by side."""
    build.warn_of_builder(context, args)
    remote, folder, targets = _divided(args.positionals)
    found = _define(context, args, remote, folder)
    if args.list:
        return _list(context, found, args.list)
    overrides = _overrides(args)
    plan = context.engine.bake.plan(found, targets, overrides)
    for what in dict.fromkeys(found.unknown):
        context.warn(f"WARNING: {what} is not known and has no effect")
    if args.print:
        context.print(json.dumps(plan.document(), indent=2, ensure_ascii=False))
        return 0
    _check(context, args, plan)
    return _Bakery(context, args, plan).bake()


def _divided(words: Sequence[str]) -> tuple[str, str, Sequence[str]]:
    """docker's `[URL [URL]] [TARGET…]`: where the bake files are, what BAKE_CMD_CONTEXT is, and targets."""
    if not words or not is_remote(words[0]):
        return "", "", words
    if words[1:] and is_remote(words[1]):
        return words[0], words[1], words[2:]
    return words[0], "", words[1:]


def _define(context: Context, args: Args, remote: str, folder: str) -> Definition:
    files = [context.input if name == "-" else name for name in args.file]
    define = context.engine.bake.define
    if not remote:
        return define(files, context.environment)
    with context.build_progress(form=args.progress) as progress:
        return define(files, context.environment, remote=remote, context=folder, progress=progress)


def _overrides(args: Args) -> list[str]:
    """Those of --set, and the flags that stand for some."""
    short = [f"*.{name}=true" for name in ("push", "load", "pull") if getattr(args, name)]
    short += ["*.no-cache=true"] if args.no_cache else []
    short += [f"*.call={'check' if args.check else args.call}"] if args.check or args.call != "build" else []
    for name in ("provenance", "sbom"):
        value = getattr(args, name)
        if value:
            short.append(f"*.attest=type={name}{_ATTESTED.get(value.lower(), ',' + value)}")
    return [*short, *args.set]


def _check(context: Context, args: Args, plan: BakePlan) -> None:
    any_path = context.environment.get("BUILDX_BAKE_ENTITLEMENTS_FS", "").lower() in ("0", "false", "f")
    context.engine.bake.check(plan, args.allow, args.set, any_path=any_path)


class _Bakery:
    """The builds of one plan."""

    def __init__(self, context: Context, args: Args, plan: BakePlan) -> None:
        self._context, self._args, self._plan = context, args, plan
        self._parsed: dict[str, Args] = {}
        self._outputs: dict[str, list[BuildOutput]] = {}

    def bake(self) -> int:
        """The highest exit code. Raises as `nacre build`, naming the target."""
        targets = [self._target(name, fields) for name, fields in self._plan.targets.items()]
        calls = [target for target in targets if self._parsed[target.name].call != "build"]
        code = max((self._call(target, number) for number, target in enumerate(calls)), default=0)
        builds = [target for target in targets if target not in calls]
        if builds:
            self._build(builds)
        return code

    def _target(self, name: str, fields: Mapping[str, Any]) -> BakeTarget:
        from ..engine.targets import BakeTarget

        args = parse(build.COMMAND, [*self._words(name, fields)], "buildx bake")
        folder, file = build.origins(self._context, args)
        if "dockerfile-inline" in fields:
            file = BytesIO(fields["dockerfile-inline"].encode())
        options, self._outputs[name] = build.wishes(self._context, args)
        self._parsed[name] = args
        options = options.replace(
            contexts=(*options.contexts, *_links(fields)),
            secrets=(*git_secrets(fields["context"], self._context.environment), *options.secrets),
        )
        return BakeTarget(name, folder, file, options, _PULLS[args.pull])

    def _call(self, target: BakeTarget, number: int) -> int:
        """Print what a target says of itself, below its name as with docker."""
        from .build_call import call, is_text

        given, args = (target.context, target.dockerfile), self._parsed[target.name]
        if is_text(args):
            self._context.print("\n" * bool(number) + target.name + "\n")
        return call(self._context, args, target.options, given)

    def _build(self, targets: Sequence[BakeTarget]) -> None:
        """All of them, then their outputs."""
        started = monotonic()
        with self._context.build_progress(form=self._args.progress) as progress:
            try:
                made = self._context.engine.bake.build(targets, progress=progress)
            except (DockerfileError, BuildFailed) as error:
                progress.close()
                build.show(self._context, error)
                raise
            results = {name: self._written(name, built, progress) for name, built in made.items()}
            self._forget(made)
            self._summarize(made, monotonic() - started, progress)
        if self._args.metadata_file:
            self._tell(made, results)

    def _written(self, name: str, built: Built, progress: Progress) -> list[OutputResult]:
        wanted = self._outputs[name]
        if not wanted:
            return []
        from .buildoutput import write

        return write(self._context, built, wanted, progress)

    def _summarize(self, made: Mapping[str, Built], seconds: float, progress: Progress) -> None:
        time = f" in {seconds:.2f}s"
        if len(made) == 1:
            ((name, built),) = made.items()
            progress.line(build.summary(built, self._parsed[name], time))
            build.advise(built, self._parsed[name], progress)
            return
        for name, built in made.items():
            progress.line(f"target {name}: {build.summary(built, self._parsed[name])}")
            build.advise(built, self._parsed[name], progress)
        progress.line(f"built {len(made)} targets{time}")

    def _tell(self, made: Mapping[str, Built], results: Mapping[str, Sequence[OutputResult]]) -> None:
        from .buildoutput import metadata, write_json

        found = {name: metadata(built, results[name]) for name, built in made.items()}
        write_json(self._context, self._args.metadata_file, found)

    def _forget(self, made: Mapping[str, Built]) -> None:
        """Images that were made for others alone have no name."""
        images = [image for name in self._plan.linked if name in made for image in made[name].images]
        if images:
            self._context.engine.outputs.forget(images)

    def _words(self, name: str, fields: Mapping[str, Any]) -> Iterator[str]:
        """The command line of `nacre build` for a target, without what it has of other targets."""
        yield from (f"--{key}={value}" for key, value in _flags(fields, is_linked=name in self._plan.linked))
        yield from (f"--build-context={key}={value}" for key, value in fields.get("contexts", {}).items()
                    if not value.startswith(LINK))  # fmt: skip
        if self._args.metadata_file:
            yield f"--metadata-file={self._args.metadata_file}"
        if "dockerfile-inline" in fields:
            yield "--file=-"
        elif fields["dockerfile"] != "Dockerfile":
            yield f"--file={_dockerfile(fields)}"
        yield from ("--", fields["context"])


def _links(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The contexts that are other targets."""
    for name, value in fields.get("contexts", {}).items():
        if value.startswith(LINK):
            yield context_name(name), value


def _flags(fields: Mapping[str, Any], *, is_linked: bool) -> Iterator[tuple[str, str]]:
    """Options and their values for `nacre build`; what is made for others alone is given to nobody."""
    for name, option in _OPTIONS.items():
        value = fields.get(name)
        if value is None or (is_linked and name in ("output", "tags")):
            continue
        if isinstance(value, dict):
            yield from ((option, f"{key}{_SIGNS.get(name, '=')}{each}") for key, each in value.items())
        elif isinstance(value, list):
            yield from ((option, record(each) if isinstance(each, dict) else each) for each in value)
        else:
            yield option, str(value).lower() if isinstance(value, bool) else value


def _dockerfile(fields: Mapping[str, Any]) -> str:
    path: str = fields["dockerfile"]
    if path.startswith("cwd://"):
        return os.path.abspath(path.removeprefix("cwd://"))
    return os.path.join(fields["context"], path) if is_folder(fields["context"]) else path


# --list


_HEADINGS = {"targets": ["TARGET", "DESCRIPTION"], "variables": ["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]}


def _list(context: Context, found: Definition, written: str) -> int:
    """docker's `targets` or `variables`, or `type=…,format=json`."""
    fields = (
        dict(item.partition("=")[::2] for item in written.split(",")) if "=" in written else {"type": written}
    )
    kind, form = fields.get("type", ""), fields.get("format", "table")
    if kind not in _LISTS or form not in ("table", "json") or set(fields) - {"type", "format"}:
        raise UsageError(
            f"invalid --list {written!r}", hint="use targets or variables, or type=targets,format=json"
        )
    names, rows = _LISTS[kind](found)
    if form == "json":
        shown = [{key: value for key, value in zip(names, row, strict=True) if value} for row in rows]
        context.print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    from .output import table

    headings = _HEADINGS[kind]
    table(context, headings, [row[: len(headings)] for row in rows])
    return 0


def _targets(found: Definition) -> tuple[list[str], list[list[Any]]]:
    about = {name: ", ".join(targets) for name, targets in found.groups.items()}
    about |= {name: fields.get("description", "") for name, fields in found.targets.items()}
    return ["name", "description", "group"], [
        [name, about[name], name in found.groups] for name in sorted(about) if not name.startswith("_")
    ]


def _variables(found: Definition) -> tuple[list[str], list[list[Any]]]:
    rows = [[each.name, each.kind, _shown(each.value), each.description] for each in found.variables]
    return ["name", "type", "value", "description"], sorted(rows)


def _shown(value: Any) -> str:
    return (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":"))
    )


_LISTS = {"targets": _targets, "variables": _variables}
_ATTESTED = {
    "true": "",
    "1": "",
    "t": "",
    "false": ",disabled=true",
    "0": ",disabled=true",
    "f": ",disabled=true",
}
_PULLS = {True: "always", False: "missing"}
_SIGNS = {"extra-hosts": ":"}
_OPTIONS = {
    "annotations": "annotation", "attest": "attest", "args": "build-arg", "labels": "label", "tags": "tag",
    "cache-from": "cache-from", "cache-to": "cache-to", "target": "target", "secret": "secret", "ssh": "ssh",
    "platforms": "platform", "output": "output", "pull": "pull", "no-cache": "no-cache", "network": "network",
    "no-cache-filter": "no-cache-filter", "shm-size": "shm-size", "ulimits": "ulimit", "call": "call",
    "entitlements": "allow", "extra-hosts": "add-host",
}  # fmt: skip

COMMAND = Command(
    arguments="[TARGET...]",
    run=run,
    options=(
        many("--allow", "Allow build to access specified resources", type="stringArray"),
        build.BUILDER,
        text("--call", "Set method for evaluating build (check, outline or targets)", default="build"),
        flag("--check", 'Shorthand for "--call=check"'),
        many("-f, --file", "Build definition file", type="stringArray"),
        text("--list", "List targets or variables"),
        flag("--load", 'Shorthand for "--set=*.output=type=docker". Conditional'),
        text("--metadata-file", "Write build result metadata to a file"),
        flag("--no-cache", "Do not use cache when building the image"),
        flag("--print", "Print the options without building"),
        text(
            "--progress",
            "Set type of progress output (auto, plain, tty, quiet, rawjson or json)",
            default="auto",
        ),
        text("--provenance", 'Shorthand for "--set=*.attest=type=provenance"'),
        flag("--pull", "Always attempt to pull all referenced images"),
        flag("--push", 'Shorthand for "--set=*.output=type=registry". Conditional'),
        text("--sbom", 'Shorthand for "--set=*.attest=type=sbom"'),
        many("--set", "Override target value (e.g., targetpattern.key=value)", type="stringArray"),
    ),
    details=(
        "Without -f, the compose and bake files of this folder are read, and later ones override "
        "earlier ones. If the first argument is a git repository or a URL, they are read from there, and "
        "-f cwd://FILE from this folder."
    ),
)
