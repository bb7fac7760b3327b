"""`nacre buildx history`: records of builds.

Source: buildx, commands/history, for columns, filters and the form of what is printed.
"""

from __future__ import annotations

import os
import time

from ..words.durations import nanoseconds
from ..words.errors import Unsupported, UsageError
from .buildx import BUILDER, NODE
from .options import Command, choice, flag, many, text
from .output import ago, listing, rfc3339, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..engine.buildhistory import BuildFault, BuildRecord
    from ..words.progress import Progress
    from .context import Context
    from .options import Args
    from .terminal import Display

    Picked = Callable[[BuildRecord], bool]

_COLUMNS = (
    ("BUILD ID", "Ref"), ("NAME", "Name"), ("STATUS", "Status"), ("CREATED AT", "CreatedAt"),
    ("DURATION", "Duration"), ("", "Link"),
)  # fmt: skip
_STATUSES = {"running": "Running", "completed": "Completed"}
_SHOWN = {"completed": "completed", "running": "running", "error": "failed", "canceled": "canceled"}
_CODES = {1: "Canceled", 2: "Unknown"}
_LONGEST, _TAB = 36, 8
_MINUTE, _NANO = 60, 10**9
_SIGNS = ("!=", "<=", ">=", "=", "<", ">")
_TEXTS, _TIMES = ("ref", "repository", "status"), ("startedAt", "completedAt", "duration")


def _ls(context: Context, args: Args) -> int:
    picked = [_filter(written) for written in args.filter]
    found = context.engine.system.builds(checkout=os.getcwd() if args.local else "")
    found = [one for one in found if all(fits(one) for fits in picked)]
    is_short = args.format.startswith("table") and not args.no_trunc
    rows = map(_summary, found) if args.format == "json" else [_row(one, is_short=is_short) for one in found]
    listing(context, args, rows, _COLUMNS)
    return 0


def _filter(written: str) -> Picked:
    """What a filter picks. Raises UsageError."""
    found = [(written.find(sign), -len(sign), sign) for sign in _SIGNS if sign in written]
    if not found:
        raise UsageError(f"invalid filter {written[:80]!r}")
    at, _, sign = min(found)
    name, value = written[:at], written[at + len(sign) :]
    if name in _TEXTS:
        if sign not in ("=", "!="):
            raise UsageError(f"invalid separator for {written[:80]!r}, expected = or !=")
        return lambda one: _has(one, name, value) == (sign == "=")
    if name not in _TIMES:
        raise UsageError(f"unsupported filter {written[:80]!r}", hint=f"use {', '.join(_TEXTS + _TIMES)}")
    if sign in ("=", "!="):
        raise UsageError(f"invalid separator for {written[:80]!r}, expected <=, <, >= or >")
    limit = nanoseconds(value) / _NANO if name == "duration" else _moment(value)
    return lambda one: _stands(_time(one, name), sign, limit)


def _has(one: BuildRecord, name: str, value: str) -> bool:
    if name == "status":
        return one.status == value
    return value in (one.ref if name == "ref" else one.repository)


def _moment(value: str) -> float:
    """A time, or the time that long ago."""
    try:
        return time.time() - nanoseconds(value) / _NANO
    except UsageError:
        found = timestamp(value)
        if not found:
            raise UsageError(f"invalid time {value[:80]}", hint="write 24h or 2026-01-02T15:04:05Z") from None
        return found


def _time(one: BuildRecord, name: str) -> float:
    if name == "duration":
        return one.duration if one.completed else 0.0
    return one.started if name == "startedAt" else one.completed


def _stands(value: float, sign: str, limit: float) -> bool:
    return value > limit if sign == ">" else value < limit if sign == "<" else (
        value >= limit if sign == ">=" else value <= limit
    )  # fmt: skip


def _row(one: BuildRecord, *, is_short: bool) -> dict[str, Any]:
    name = one.name
    if is_short and len(name) > _LONGEST:
        name = ".." + name[len(name) - _LONGEST + 2 :]
    return {
        "Ref": one.ref, "Name": name, "Status": _STATUSES.get(one.status, "Error"),
        "CreatedAt": ago(one.started), "Duration": _length(one.duration) + "+" * (one.status == "running"),
        "Link": "",
    }  # fmt: skip


def _summary(one: BuildRecord) -> dict[str, Any]:
    found = {
        "cached_steps": one.cached, "completed_steps": one.done, "created_at": rfc3339(one.started),
        "name": one.name, "ref": f"{NODE}/{one.ref}", "status": _STATUSES.get(one.status, "Error"),
        "total_steps": one.steps,
    }  # fmt: skip
    return {"completed_at": rfc3339(one.completed), **found} if one.completed else found


def _length(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f}s"
    return f"{int(seconds / _MINUTE)}m {int(seconds) % _MINUTE:2}s"


def _inspect(context: Context, args: Args) -> int:
    one = context.engine.system.build(*args.positionals[:1])
    if args.format == "pretty":
        _pretty(context, one, named=bool(args.positionals))
    elif args.format == "json":
        import json

        context.print(json.dumps(_document(one), indent=2, ensure_ascii=False))
    else:
        from ..grammars.gotemplate import Struct, Template

        context.print(Template(args.format).render(Struct(_document(one, is_full=True), "inspectOutput")))
    return 0


def _document(one: BuildRecord, *, is_full: bool = False) -> dict[str, Any]:
    """As buildx's inspectOutput; fields that are empty are left out unless `is_full`."""
    found = {
        "Name": one.name, "Ref": one.ref, "Context": _relative(one.context),
        "Dockerfile": _relative(one.dockerfile),
        "VCSRepository": one.repository, "VCSRevision": one.revision, "Target": one.target,
        "Platform": list(one.platforms), "KeepGitDir": False, "NamedContexts": _pairs(one.contexts),
        "StartedAt": rfc3339(one.started), "CompletedAt": rfc3339(one.completed) if one.completed else None,
        "Duration": int(one.duration * _NANO), "Status": _SHOWN[one.status],
        "Error": _fault(one.fault) if one.fault else None, "NumCompletedSteps": one.done,
        "NumTotalSteps": one.steps, "NumCachedSteps": one.cached, "BuildArgs": _pairs(one.arguments),
        "Labels": _pairs(one.labels), "Config": _config(one),
        "Materials": [{"URI": url, "Digests": [digest]} for url, digest in one.materials],
        "Attachments": [
            {"Digest": each.digest, "Platform": each.platform, "Type": each.type} for each in one.attachments
        ],
        "Errors": [],
    }  # fmt: skip
    kept = ("Ref", "NumCompletedSteps", "NumTotalSteps", "NumCachedSteps", "Config")
    return found if is_full else {name: value for name, value in found.items() if value or name in kept}


def _pairs(pairs: Sequence[tuple[str, str | None]]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": _value(value)} for name, value in pairs]


def _value(value: str | None) -> str:
    return "<hidden>" if value is None else value


def _config(one: BuildRecord) -> dict[str, Any]:
    epoch = dict(one.arguments).get("SOURCE_DATE_EPOCH")
    found = {
        "Network": one.network, "ExtraHosts": list(one.hosts), "MultiPlatform": len(one.platforms) > 1,
        "NoCache": one.no_cache, "NoCacheFilter": list(one.no_cache_filter),
        "ShmSize": str(one.shm_size or ""), "Ulimit": ",".join(one.ulimits), "SourceDateEpoch": epoch,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _fault(fault: BuildFault) -> dict[str, Any]:
    from base64 import b64encode

    found = {
        "Code": fault.code, "Message": fault.message, "Name": fault.step,
        "Logs": fault.logs.split("\n") if fault.logs else [],
        "Sources": b64encode("\n".join(_source(fault)).encode("utf-8", "replace")).decode(),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _source(fault: BuildFault) -> list[str]:
    from .build_call import marked
    from .buildview import printable

    if not fault.source:
        return []
    lines = list(map(printable, fault.source.split("\n")))
    return marked(fault.file, lines, fault.first, (fault.line, fault.last))


def _pretty(context: Context, one: BuildRecord, *, named: bool) -> None:
    heads = {
        "Name": one.name, "Ref": "" if named else one.ref, "Context": _relative(one.context),
        "Dockerfile": _relative(one.dockerfile), "VCS Repository": one.repository,
        "VCS Revision": one.revision, "Target": one.target, "Platforms": ", ".join(one.platforms),
    }  # fmt: skip
    _lines(context, heads)
    _named(context, "NAMED CONTEXT", one.contexts)
    share = 100 * one.cached / one.steps if one.steps else 0
    running = " (running)" if one.status == "running" else ""
    status = {"Status": "Canceled"} if one.status == "canceled" else {}
    if one.fault and not status:
        status = {"Error": f"{_CODES.get(one.fault.code, 'Unknown')} {one.fault.message}"}
    _lines(context, {
        "Started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.started)),
        "Duration": _length(one.duration) + running, **status,
        "Build Steps": f"{one.done}/{one.steps} ({share:.0f}% cached)",
    })  # fmt: skip
    config = _config(one)
    words = {"ExtraHosts": "Extra Hosts", "MultiPlatform": "Multi-Platform", "NoCache": "No Cache",
             "NoCacheFilter": "No Cache Filter", "ShmSize": "Shm Size", "Ulimit": "Resource Limits",
             "SourceDateEpoch": "Source Date Epoch"}  # fmt: skip
    _lines(context, {words.get(name, name): _word(value) for name, value in config.items()})
    _named(context, "BUILD ARG", one.arguments)
    _named(context, "LABEL", one.labels)
    _rows(context, "Materials:", ("URI", "DIGEST"), one.materials)
    attached = [(each.digest, each.platform, each.type) for each in one.attachments]
    _rows(context, "Attachments:", ("DIGEST", "PLATFORM", "TYPE"), attached)
    if one.fault:
        _show_fault(context, one.fault)
    context.print(f"Print build logs: nacre buildx history logs {one.ref}")


def _relative(path: str) -> str:
    """Beneath this folder without it."""
    inside = os.path.relpath(path) if os.path.isabs(path) else path
    return path if inside.startswith("../") or inside == ".." else inside


def _word(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "true" if value is True else str(value)


def _show_fault(context: Context, fault: BuildFault) -> None:
    for line in _source(fault):
        context.print(line)
    if fault.logs:
        from .buildview import printable

        context.print("Logs:")
        context.print(f"> => {fault.step}:")
        for line in fault.logs.split("\n"):
            context.print(f"> {printable(line)}")
    if fault.source or fault.logs:
        context.print()


def _lines(context: Context, fields: dict[str, str]) -> None:
    """Names and values, without those that are empty, and a blank line."""
    rows = [(f"{name}:", value) for name, value in fields.items() if value]
    if rows:
        _tabbed(context, rows)
        context.print()


def _named(context: Context, title: str, pairs: Sequence[tuple[str, str | None]]) -> None:
    if pairs:
        _rows(context, "", (title, "VALUE"), [(name, _value(value)) for name, value in pairs])


def _rows(context: Context, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    if title:
        context.print(title)
    _tabbed(context, [head, *rows])
    context.print()


def _tabbed(context: Context, rows: Sequence[Sequence[str]]) -> None:
    """Columns apart by tabs, as Go's text/tabwriter does it with these."""
    widths = [(max(map(len, column)) // _TAB + 1) * _TAB for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell + "\t" * -(-(width - len(cell)) // _TAB)
            for cell, width in zip(row[:-1], widths, strict=False)
        ]
        context.print("".join([*cells, row[-1]]))


def _attachment(context: Context, args: Args) -> int:
    ref, digest = [*args.positionals, "", ""][:2]
    data = context.engine.system.build_attachment(ref, digest, type=args.type, platform=args.platform)
    import json

    context.print(json.dumps(json.loads(data), indent=2, ensure_ascii=False))
    return 0


def _logs(context: Context, args: Args) -> int:
    """On standard error, as docker's."""
    from .buildsteps import RawJson, build_display

    shown: list[Display] = []

    def progress(clock: Callable[[], float]) -> Progress:
        is_raw = args.progress == "rawjson"
        shown.append(RawJson(context.stderr, clock) if is_raw else build_display(context, args.progress))
        return shown[0]

    context.engine.system.build_log("".join(args.positionals[:1]), progress)
    for display in shown:
        display.close()
    return 0


def _rm(context: Context, args: Args) -> int:
    if bool(args.positionals) == args.all:
        what = "either --all or" if args.all else "at least"
        raise UsageError(f"rm requires {what} one argument", hint="name builds, or use --all")
    context.engine.system.remove_builds(args.positionals, all=args.all)
    return 0


def _refused(what: str, why: str, hint: str) -> Callable[[Context, Args], int]:
    def run(_context: Context, _args: Args) -> int:
        raise Unsupported(f"nacre buildx history {what}: {why}", hint=hint)

    return run


_REF = "REF is a build ID, or ^N for the build that many before the newest, which is meant without one."
_BUNDLE = "a .dockerbuild file holds records in BuildKit's own form (protobuf), which nacre does not have"

LS = Command(
    "",
    run=_ls,
    options=(
        many("--filter", "Provide filter values (e.g., status=error)", type="stringArray"),
        text("--format", "Format the output: table, json or a Go template", default="table"),
        flag("--local", "List records for current repository only"),
        flag("--no-trunc", "Don't truncate output"),
        BUILDER,
    ),
    details=(
        "Filters are ref, repository and status (running, completed, error, canceled) with = and !=, "
        "startedAt, completedAt and duration with < and >. The last 100 builds have records."
    ),
)
INSPECT = Command(
    "[REF]",
    run=_inspect,
    options=(
        text("--format", "Format the output: pretty, json or a Go template", default="pretty"),
        BUILDER,
    ),
    details=_REF,
)
ATTACHMENT = Command(
    "[REF] [DIGEST]",
    run=_attachment,
    options=(
        text("--platform", "Platform of attachment"),
        text("--type", "Type of attachment: index, manifest, image, provenance or sbom"),
        BUILDER,
    ),
    details=_REF,
)
LOGS = Command(
    "[REF]",
    run=_logs,
    options=(
        choice("--progress", "Set type of progress output", ("plain", "rawjson", "tty"), default="plain"),
        BUILDER,
    ),
    details=_REF + " The log is printed on standard error, as by buildx.",
)
RM = Command(
    "[REF...]",
    run=_rm,
    options=(flag("--all", "Remove all build records"), BUILDER),
    details="What was built stays. " + _REF,
)
EXPORT = Command(
    "[REF...]",
    run=_refused("export", _BUNDLE, "use inspect --format json, and logs --progress rawjson"),
    options=(
        flag("--all", "Not supported"),
        flag("--finalize", "Not supported"),
        text("-o, --output", "Not supported"),
        BUILDER,
    ),
    store=False,
    details="Always an error: " + _BUNDLE + ".",
)
IMPORT = Command(
    "[-]",
    run=_refused("import", _BUNDLE, "only Docker Desktop reads such files"),
    options=(text("-f, --file", "Not supported"), BUILDER),
    store=False,
    details="Always an error: " + _BUNDLE + ".",
)
OPEN = Command(
    "[REF]",
    run=_refused("open", "Docker Desktop shows builds of its own builders alone", "use inspect"),
    options=(BUILDER,),
    store=False,
    details="Always an error: there is no Docker Desktop that could show builds of nacre.",
)
TRACE = Command(
    "[REF]",
    run=_refused("trace", "no OpenTelemetry trace of a build is kept", "use logs, whose lines have times"),
    options=(
        text("--addr", "Not supported"),
        text("--compare", "Not supported"),
        BUILDER,
    ),
    store=False,
    details="Always an error: no trace of a build is kept.",
)
