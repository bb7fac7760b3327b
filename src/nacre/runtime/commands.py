"""The commands of `nacre-runtime`: from their flags to the operations."""

from __future__ import annotations

import os
import sys

from ..grammars.runtimespec import LARGEST
from ..ground.fork import Child
from ..services.runtime import lifecycle
from ..services.runtime.containers import KnownContainers
from ..words import quickjson
from ..words.errors import NacreError, NotFound, Unsupported, UsageError
from .arguments import MANY, SWITCH, TEXT, CommandFlags, GivenFlags, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .log import RuntimeLog
else:
    import _signal as signal

_MOST_DESCRIPTORS = 1024
_DOCKERS = "OCI runtime exec failed: "
"""What docker says itself before the error of a runtime."""

_CREATE = {
    "bundle": TEXT, "console-socket": TEXT, "pid-file": TEXT, "no-pivot": SWITCH, "no-new-keyring": SWITCH,
    "preserve-fds": TEXT,
}  # fmt: skip
_SHORT = {"b": "bundle", "d": "detach", "p": "process", "a": "all", "f": "force", "e": "env", "u": "user",
          "t": "tty", "q": "quiet", "r": "resources", "g": "additional-gids", "c": "cap"}  # fmt: skip
_NOT_HERE = {
    "checkpoint": "containers cannot be written to disk and restored",
    "restore": "containers cannot be written to disk and restored",
    "events": "the control groups of a container show what it uses",
}


def run_command(root: str, words: Sequence[str], log: RuntimeLog) -> int:
    """The exit code. Raises NacreError."""
    name, *rest = words
    if name in _NOT_HERE:
        raise Unsupported(f"nacre-runtime has no {name}: {_NOT_HERE[name]}")
    if name not in _COMMANDS:
        raise UsageError(f"nacre-runtime has no command {name!r}", hint="nacre-runtime help lists them")
    work, usage = _COMMANDS[name]
    return work(KnownContainers(root), parse(rest, usage, name), log)


def _request(given: GivenFlags) -> lifecycle.ContainerRequest:
    """Descriptors of socket activation are for us only if they were meant for this process."""
    listen = os.environ.get("LISTEN_FDS", "")
    bundle = os.path.abspath(given.text("bundle") or ".")
    request = lifecycle.ContainerRequest(
        given.arguments[0], bundle, _mask(), given.text("pid-file"), given.text("console-socket"),
        given.switch("no-pivot"), given.switch("no-new-keyring"),
        given.number("preserve-fds", _MOST_DESCRIPTORS), int(listen) if listen.isdecimal() else 0,
        lifecycle.now(),
    )  # fmt: skip
    for fd in range(3, 3 + request.descriptors):
        try:
            os.fstat(fd)
        except OSError:
            raise UsageError(f"--preserve-fds: descriptor {fd} is not open") from None
    return request


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _create(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    lifecycle.create(states, _request(given))
    return 0


def _start(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    with states.open(given.arguments[0], lock=True) as folder:
        lifecycle.start(folder)
    return 0


def _state(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    with states.open(given.arguments[0]) as folder:
        print(lifecycle.shown(lifecycle.state(folder)))
    return 0


def _kill(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    name, word = (*given.arguments, "SIGTERM")[:2]
    with states.open(name) as folder:
        lifecycle.kill(folder, read_signal(word), everybody=given.switch("all"))
    return 0


def read_signal(word: str) -> int:
    """A number, or a name with or without SIG. Raises UsageError."""
    if word.isascii() and word.isdigit() and 0 < int(word) <= 64:
        return int(word)
    name = word.upper().removeprefix("SIG")
    number = getattr(signal, f"SIG{name}", None)
    if name.startswith(("_", "RTM")) or not isinstance(number, int):
        raise UsageError(f"unknown signal {word!r}")
    return number


def _delete(states: KnownContainers, given: GivenFlags, log: RuntimeLog) -> int:
    force = given.switch("force")
    try:
        with states.open(given.arguments[0], lock=True) as folder:
            warnings = lifecycle.delete(folder, force=force)
    except NotFound:
        if not force:
            raise
        return 0
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
        log.write("warning", warning)
    return 0


def _pause(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    with states.open(given.arguments[0], lock=True) as folder:
        lifecycle.freeze(folder, still=True)
    return 0


def _resume(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    with states.open(given.arguments[0], lock=True) as folder:
        lifecycle.freeze(folder, still=False)
    return 0


def _run(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    """With a terminal and nobody else to take it, it is shown on ours."""
    from ..services.runtime.foreground import TerminalSocket, stay

    request, detached = _request(given), given.switch("detach")
    terminal = bool((lifecycle.config_of(request.bundle).get("process") or {}).get("terminal"))
    if not terminal or request.console or detached:
        lifecycle.create(states, request)
        shown = -1
    else:
        with TerminalSocket() as console:
            lifecycle.create(states, request.replace(console=console.path))
            shown = console.take()
    with states.open(request.id, lock=True) as folder:
        try:
            lifecycle.start(folder)
        except BaseException:
            lifecycle.delete(folder, force=True)
            raise
        record = folder.record()
    if detached:
        return 0
    code = stay(Child(record.pid, -1, "the program"), shown)
    if not given.switch("keep"):
        with states.open(request.id, lock=True) as folder:
            lifecycle.delete(folder, force=True)
    return code


def _exec(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    from ..services.runtime.executing import ExecRequest, execute
    from ..services.runtime.foreground import TerminalSocket, stay

    request = ExecRequest(
        _mask(), given.text("pid-file"), given.text("console-socket"),
        given.number("preserve-fds", _MOST_DESCRIPTORS), given.switch("no-new-keyring"),
    )  # fmt: skip
    try:
        with states.open(given.arguments[0]) as folder:
            wanted = more_process(given, folder.config().get("process") or {})
            if not wanted.get("terminal") or request.console or given.switch("detach"):
                child, shown = execute(folder, wanted, request), -1
            else:
                with TerminalSocket() as console:
                    child = execute(folder, wanted, request.replace(console=console.path))
                    shown = console.take()
    except NacreError as error:
        error.message = error.message.removeprefix(_DOCKERS)
        error.runtime_code = 255  # type: ignore[attr-defined]
        raise
    return 0 if given.switch("detach") else stay(child, shown)


def more_process(given: GivenFlags, first: Mapping[str, Any]) -> dict[str, Any]:
    """What `exec` is to run: a whole process from a file, or that of the container with changes."""
    from ..grammars.runtimespec import read_process

    if given.text("process"):
        if len(given.arguments) > 1:
            raise UsageError("exec takes --process or a program, not both")
        return read_process(read_file(given.text("process")), "--process")
    if len(given.arguments) < 2:
        raise UsageError("nacre-runtime exec takes a container id and a program")
    return read_process(quickjson.dumps(_changed(given, first)).encode(), "the process")


def _changed(given: GivenFlags, first: Mapping[str, Any]) -> dict[str, Any]:
    """The process of the container with what the flags say."""
    process = {**first, "args": given.arguments[1:], "terminal": given.switch("tty")}
    process["env"] = [*(first.get("env") or ()), *given.many("env")]
    process["cwd"] = given.text("cwd") or first.get("cwd") or "/"
    if given.text("user"):
        uid, _, gid = given.text("user").partition(":")
        process["user"] = {"uid": number_of(uid), "gid": number_of(gid or "0")}
    if more := given.many("additional-gids"):
        process["user"] = {**process.get("user", {}), "additionalGids": [*map(number_of, more)]}
    if given.many("cap"):
        sets = dict(process.get("capabilities") or {})
        for name in ("bounding", "effective", "permitted"):
            sets[name] = [*sets.get(name, ()), *given.many("cap")]
        process["capabilities"] = sets
    if given.switch("no-new-privs"):
        process["noNewPrivileges"] = True
    for flag, name in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if given.text(flag):
            process[name] = given.text(flag)
    return process


def number_of(word: str) -> int:
    """An id. Raises UsageError."""
    if not word.isascii() or not word.isdigit() or len(word) > 10:
        raise UsageError(f"{word!r} is not the number of a user or a group")
    return int(word)


def read_file(path: str) -> bytes:
    """A file, or what comes on standard input for `-`. Raises UsageError."""
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def _list(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    found = []
    for name in states.names():
        try:
            with states.open(name) as folder:
                found.append(lifecycle.state(folder))
        except NotFound:
            continue
    form = format_of(given)
    if given.switch("quiet"):
        lines = [each["id"] for each in found]
    elif form == "json":
        lines = [quickjson.dumps(found)]
    else:
        names = ("id", "pid", "status", "bundle", "created", "owner")
        rows = [tuple(name.upper() for name in names), *(tuple(str(e[n]) for n in names) for e in found)]
        lines = aligned(rows)
    for line in lines:
        print(line)
    return 0


def format_of(given: GivenFlags) -> str:
    """Either table or json. Raises UsageError."""
    form = given.text("format", "table")
    if form not in ("table", "json"):
        raise UsageError(f"--format is {form!r}, not table or json")
    return form


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(w.ljust(n) for w, n in zip(row, widths, strict=True)).rstrip() for row in rows]


def _ps(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    from ..ground.bundle.groups import members

    with states.open(given.arguments[0]) as folder:
        record = folder.record()
        pids = members(record.folders) if record.folders else [record.pid]
    if format_of(given) == "json":
        print(quickjson.dumps(pids))
        return 0
    rows = [("PID", "COMMAND")]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                rows.append((str(pid), file.read(4096).replace(b"\0", b" ").decode(errors="replace").strip()))
        except OSError:
            continue
    print("\n".join(aligned(rows)))
    return 0


def _update(states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    from ..grammars.runtimespec import read_resources

    if not given.text("resources"):
        raise UsageError("nacre-runtime update takes --resources FILE, or - for standard input")
    resources = read_resources(read_file(given.text("resources")), "--resources")
    with states.open(given.arguments[0], lock=True) as folder:
        lifecycle.update(folder, resources)
    return 0


def _spec(_states: KnownContainers, given: GivenFlags, _log: RuntimeLog) -> int:
    from ..services.runtime.spec import specification

    ids = (os.geteuid(), os.getegid()) if given.switch("rootless") else None
    path = os.path.join(given.text("bundle") or ".", "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(lifecycle.shown(specification(ids)) + "\n")
    except FileExistsError:
        raise UsageError(f"{path} exists already") from None
    return 0


def _features(_states: KnownContainers, _given: GivenFlags, _log: RuntimeLog) -> int:
    from ..services.runtime.spec import features

    print(lifecycle.shown(features()))
    return 0


_EXEC = {
    "console-socket": TEXT, "pid-file": TEXT, "process": TEXT, "detach": SWITCH, "tty": SWITCH, "env": MANY,
    "cwd": TEXT, "user": TEXT, "additional-gids": MANY, "process-label": TEXT, "apparmor": TEXT,
    "no-new-privs": SWITCH, "cap": MANY, "preserve-fds": TEXT, "no-new-keyring": SWITCH,
}  # fmt: skip
_ID = CommandFlags({}, short=_SHORT)
_COMMANDS: dict[str, tuple[Callable[[KnownContainers, GivenFlags, RuntimeLog], int], CommandFlags]] = {
    "create": (_create, CommandFlags(_CREATE, short=_SHORT)),
    "start": (_start, _ID),
    "state": (_state, _ID),
    "kill": (_kill, CommandFlags({"all": SWITCH}, 1, 2, _SHORT, "a container id and a signal")),
    "delete": (_delete, CommandFlags({"force": SWITCH}, short=_SHORT)),
    "pause": (_pause, _ID),
    "resume": (_resume, _ID),
    "run": (_run, CommandFlags({**_CREATE, "detach": SWITCH, "keep": SWITCH}, short=_SHORT)),
    "exec": (_exec, CommandFlags(_EXEC, 1, -1, _SHORT)),
    "list": (_list, CommandFlags({"format": TEXT, "quiet": SWITCH}, 0, 0, {**_SHORT, "f": "format"})),
    "ps": (_ps, CommandFlags({"format": TEXT}, 1, 1, {**_SHORT, "f": "format"})),
    "update": (_update, CommandFlags({"resources": TEXT}, short=_SHORT)),
    "spec": (_spec, CommandFlags({"bundle": TEXT, "rootless": SWITCH}, 0, 0, _SHORT)),
    "features": (_features, CommandFlags({}, 0, 0, _SHORT)),
}
