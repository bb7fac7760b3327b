"""`nacre build --check`, `--call` and `--explain`: what a Dockerfile says of itself, and what it would do."""

from __future__ import annotations

import os
from base64 import b64decode
from contextlib import nullcontext
from stat import S_ISCHR

from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..engine.archives import Origin
    from ..engine.building import BuildComparison
    from ..ground.sandbox import Stdio
    from ..services.build import BuildOptions
    from ..words.errors import BuildFailed
    from .context import Context
    from .options import Args
    from .terminal import Display

    Row = dict[str, Any]

_RULE = "-" * 20
_AROUND = 2
"""Lines shown before and after those that are meant."""


def call(context: Context, args: Args, options: BuildOptions, given: tuple[Origin, Origin]) -> int:
    """Print the document; 1 if a check found anything, unless `ignorestatus`."""
    method, fields = _read(args)
    document = context.engine.call(method, given[0], dockerfile=given[1], options=options)
    text = _formatted(document, method, fields.get("format", "text"))
    if text:
        context.print(text)
    wrong = bool(document.get("warnings") or document.get("buildError"))
    return int(wrong and fields.get("ignorestatus", "false") not in ("true", "1", ""))


def is_text(args: Args) -> bool:
    """Whether `call` prints lines for people."""
    return _read(args)[1].get("format", "text") == "text"


def _formatted(document: Row, method: str, form: str) -> str:
    if form == "json":
        import json

        return json.dumps(document, indent=2, ensure_ascii=False)
    if form == "text":
        return "\n".join(_TEXTS[method](document))
    from .checkforms import FORMS

    return FORMS[form](document)


def explain(context: Context, args: Args, options: BuildOptions, given: tuple[Origin, Origin]) -> int:
    """Print what would be done with each step, and why."""
    pull = "always" if args.pull else "missing"
    progress = context.build_progress(form=args.progress) if options.cache_from else None
    with progress or nullcontext():
        found = context.engine.explain(
            given[0], dockerfile=given[1], options=options, pull=pull, progress=progress
        )
    for one in found:
        context.print(f"{one.step}: {_STATUSES[one.status]}{one.reason and f': {one.reason}'}")
        for line in one.details:
            context.print(f"    {line}")
    run, cached = (sum(one.status == status for one in found) for status in ("run", "cached"))
    steps = f"{run} step{'s' * (run != 1)} would run, {cached} cached"
    unsure = sum(one.status in ("maybe", "pull") for one in found)
    context.print(steps + (f", {unsure} not known before" if unsure else ""))
    return 0


def verify(context: Context, args: Args, options: BuildOptions, given: tuple[Origin, Origin]) -> int:
    """Build twice, and print what differs and why it probably does; 1 if anything does."""
    for name in ("output", "push", "iidfile", "metadata_file", "on_fail"):
        if getattr(args, name, None):
            raise UsageError(f"--verify only compares, without --{name.replace('_', '-')}")
    with context.build_progress(quiet=args.quiet, form=args.progress) as progress:
        found = context.engine.verify(
            given[0], dockerfile=given[1], options=options, pull="always" if args.pull else "missing",
            progress=progress,
        )  # fmt: skip
    for one in found:
        _print_comparison(context, one)
    return int(not all(one.is_equal for one in found))


def _print_comparison(context: Context, found: BuildComparison) -> None:
    from .buildview import printable

    for one in found.files:
        path = printable("/" + one.path.decode("utf-8", "backslashreplace"))
        context.print(f"{one.kind} {path}: {one.reason}")
    for name in found.config:
        context.print(f"C image config, {name}: another value")
    for dated in found.dated:
        context.print(f"? {printable('/' + dated.decode('utf-8', 'backslashreplace'))}: the date of today")
    if found.is_equal:
        context.print(f"{found.image.digest}: both builds are the same")
    else:
        count = len(found.files)
        context.print(f"{found.image.digest}: the builds differ in {count} file{'s' * (count != 1)}")


def _read(args: Args) -> tuple[str, dict[str, str]]:
    """docker's `METHOD[,format=FORM][,ignorestatus=true]`; `lint` is another name of check."""
    name, *rest = ["check"] if args.check else args.call.split(",")
    _check_asked(args)
    if args.print_dockerfile:
        name = "dockerfile"
    name = name.removeprefix("frontend.")
    name = "check" if name == "lint" else name
    fields = {key: value for key, _, value in (field.partition("=") for field in rest)}
    forms = ("json", "text", "sarif", "github") if name == "check" else ("json", "text")
    for key, value in fields.items():
        if key not in ("format", "ignorestatus") or (key == "format" and value not in forms):
            raise UsageError(
                f"invalid --call field {key}={value}",
                hint=f"write format={', format='.join(forms)} or ignorestatus=true",
            )
    return name, fields


def _check_asked(args: Args) -> None:
    """Raises UsageError for flags that contradict each other."""
    if args.print_dockerfile and (args.check or args.call not in ("build", "dockerfile")):
        other = "check" if args.check else f"call={args.call}"
        raise UsageError(f"--print-dockerfile and --{other} ask for different things")
    if args.check and args.call not in ("build", "check", "lint"):
        raise UsageError(f"--check and --call={args.call} ask for different things")


def _checked(document: Row) -> list[str]:
    count, error = len(document["warnings"]), document.get("buildError")
    source = document["sources"][0]
    lines = _shown(b64decode(source["data"]).decode("utf-8", "replace"), document).split("\n")
    out = []
    if count or not error:
        found = (
            f"{count} warning{'s have' if count > 1 else ' has'} been found!"
            if count
            else "no warnings found."
        )
        out.append(f"Check complete, {found}")
    for one in document["warnings"]:
        page = f" - {one['url']}" if "url" in one else ""
        out += ["", f"WARNING: {one.get('ruleName', 'Dockerfile')}{page}", one["detail"]]
        out += _excerpt(source["filename"], lines, one.get("location"))
    for one in document.get("advice", ()):
        out += ["", f"ADVICE: {one['ruleName']}", one["detail"], *_instead(one)]
        out += _excerpt(source["filename"], lines, one.get("location"))
    if error:
        out += ["", f"ERROR: {error['message']}", *_excerpt(source["filename"], lines, error["location"])]
    return out


def _shown(text: str, document: Row) -> str:
    """The Dockerfile, without the secrets that are warned of."""
    if not any(one["ruleName"].startswith("Secret") for one in document.get("advice", ())):
        return text
    from ..images.dockerfile.secrets import masked

    return masked(text)


def _instead(one: Row) -> list[str]:
    """The lines to write, with a margin."""
    return [f"    {line}" for line in one.get("instead", "").split("\n") if line]


def _excerpt(name: str, lines: Sequence[str], location: Row | None) -> list[str]:
    """The lines that are meant, marked, with some around them."""
    if not location:
        return []
    first, last = (location["ranges"][0][end]["line"] for end in ("start", "end"))
    begin = max(first - _AROUND, 1)
    return marked(name, lines[begin - 1 : last + _AROUND], begin, (first, last))


def marked(name: str, lines: Sequence[str], begin: int, meant: tuple[int, int]) -> list[str]:
    """Lines of a Dockerfile from number `begin` on, as buildx shows them: those `meant` have a mark."""
    shown = [
        f"{n:4} | {'>>>' if meant[0] <= n <= meant[1] else '   '} {line.rstrip()}"
        for n, line in enumerate(lines, begin)
    ]
    return [f"{name}:{meant[0]}", _RULE, *shown, _RULE]


def failure(error: BuildFailed) -> list[str]:
    """What a step that failed wrote last, and its lines of the Dockerfile, as buildx shows them."""
    from .buildview import printable

    out = []
    if error.step:
        lines = error.output.split("\n") if error.output else []
        out = ["------", f" > {error.step}:", *map(printable, lines), "------"]
    if error.source:
        lines = list(map(printable, error.source.split("\n")))
        out += marked(error.file, lines, error.source_line, (error.line, max(error.line, error.last_line)))
    return out


def standing(context: Context, args: Args, progress: Display) -> Callable[[BuildFailed], Stdio]:
    """What `--on-fail shell` does when a step has failed: say so, and give a shell the user's descriptors."""
    from ..ground.sandbox import Stdio

    if "-" in (args.positionals[0], args.file):
        raise UsageError("--on-fail shell: standard input is the build's, so that a shell would have none")
    terminal = context.stdin.isatty()
    if not terminal and S_ISCHR(os.fstat(context.stdin.fileno()).st_mode):
        raise UsageError("--on-fail shell needs a terminal, or commands on standard input")

    def stand(error: BuildFailed) -> Stdio:
        progress.close()
        for line in [*failure(error), f"ERROR: {error.message}"]:
            context.warn(line)
        context.warn("A shell where the step failed, with its files, user, variables and mounts.")
        context.warn("What you change is dropped when it ends, and the build fails.")
        return Stdio(0, 1, 2, tty=terminal)

    return stand


def _outlined(document: Row) -> list[str]:
    out = []
    if "name" in document or "description" in document:
        rows = [
            ["TARGET:", document.get("name", "(default)")],
            ["DESCRIPTION:", document.get("description", "")],
        ]
        out += [*_table([row for row in rows if row[1]], 1), ""]
    if found := document.get("args"):
        names = ("name", "value", "description")
        rows = [
            ["BUILD ARG", "VALUE", "DESCRIPTION"],
            *([one.get(name, "") for name in names] for one in found),
        ]
        out += [*_table(rows, 3), ""]
    for key, title in (("secrets", "SECRET"), ("ssh", "SSH")):
        if found := document.get(key):
            rows = [[one["name"], "true" if one.get("required") else ""] for one in found]
            out += [*_table([[title, "REQUIRED"], *rows], 3), ""]
    return out[:-1]


def _listed(document: Row) -> list[str]:
    rows = [["TARGET", "DESCRIPTION"]]
    for one in document["targets"]:
        name = one.get("name", "")
        default = "(default)" if one.get("default") else ""
        rows.append([f"{name} {default}".strip(), one.get("description", "")])
    return _table(rows, 1)


def _table(rows: Sequence[Sequence[str]], gap: int) -> list[str]:
    """Columns as wide as their longest cell."""
    if not rows:
        return []
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    return [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _printed(document: Row) -> list[str]:
    return str(document["dockerfile"]).rstrip("\n").split("\n")


_TEXTS = {"check": _checked, "outline": _outlined, "targets": _listed, "dockerfile": _printed}
_STATUSES = {
    "here": "here", "pull": "not known before", "cached": "cached", "run": "would run", "maybe": "may run",
}  # fmt: skip
