"""The processes of a container, as ps(1) lists them: `nacre top`.

The usual columns are read from proc(5), so that no program is needed. With options the `ps` of this machine
is asked, never one of the container.
"""

from __future__ import annotations

import os
import time

from ...ground.limits.members import all_processes, descendants, namespace
from ...ground.linux import process_stat, start_time
from ...ground.sandbox.program import shares_processes
from ...words.errors import Conflict, NacreError, NotFound, SandboxError
from ...words.quickjson import loads
from ...words.value import Value
from .program import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...stores.containers import ContainerRow
    from .listing import ContainerListing

_TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_TTY_SLAVES = range(136, 144)
_WIDEST = 8
_GROUP = "nacre-"


class ProcessList(Value):
    """`titles` and a row of as many words for each process, the last of which may hold blanks."""

    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


def processes(containers: ContainerListing, text: str, options: Sequence[str] = ()) -> ProcessList:
    """What runs in a container. Raises NotFound, Conflict when it does not run, SandboxError."""
    row = containers.get(text)
    if row.state != "running":
        raise Conflict(f"container {row.id} is not running")
    pids = _members(row)
    containers.tell(row, "top")
    if options:
        return _by_ps(pids, tuple(options))
    found = tuple(_row(pid) for pid in sorted(pids))
    return ProcessList(_TITLES, tuple(row for row in found if row))


def _members(row: ContainerRow) -> set[int]:
    """Those in its pid namespace and control group; without one of its own, the descendants of its program.

    Another container may have joined the namespace, and what `exec` runs descends from elsewhere.
    """
    everybody = list(all_processes())
    wanted = namespace(entered(row))
    if start_time(row.pid) != row.pid_start:
        raise Conflict(f"container {row.id} is not running")
    family = descendants({row.pid}, everybody)
    record = loads(row.config_json)
    if record["runtime"] != "builtin" or record.get("pid_of") or shares_processes(record["config"]):
        return family - {row.pid}  # the watcher is ours
    if wanted in ("", namespace("self")):
        return family
    group = _group(row.pid)
    inside = (each.pid for each in everybody if namespace(each.pid) == wanted)
    return family | {pid for pid in inside if _group(pid) == group}


def _group(pid: int) -> str:
    """The name of the group that a container has to itself, "" without one."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            names = file.read().replace("\n", "/").split("/")
    except OSError:
        return ""
    return next((name for name in names if name.startswith(_GROUP)), "")


def _row(pid: int) -> tuple[str, ...]:
    """The line of `ps -ef`; () when it has ended."""
    try:
        name, stat = process_stat(pid)
        uid = _effective_user(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read(65536).rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ()
    ticks = os.sysconf("SC_CLK_TCK")
    used = (int(stat[11]) + int(stat[12])) // ticks
    begun = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(stat[19]) / ticks
    share = min(99, int(100 * used / max(1.0, time.time() - begun)))
    shown = f"{used // 3600:02}:{used // 60 % 60:02}:{used % 60:02}"
    return (
        _user(uid), str(pid), stat[1].decode(), str(share), _started(begun), _terminal(int(stat[4])), shown,
        _one_line(command) or f"[{_one_line(name.decode(errors='replace'))}]",
    )  # fmt: skip


def _effective_user(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return next((int(line.split()[2]) for line in file if line.startswith("Uid:")), 0)


def _one_line(text: str) -> str:
    """What a process calls itself must not write to a terminal as it likes."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _user(uid: int) -> str:
    """Its name on this machine, as ps shows it."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST - 1]}+"


def _started(begun: float) -> str:
    now = time.localtime()
    then = time.localtime(begun)
    if then[:3] == now[:3] or time.time() - begun < 0:
        return time.strftime("%H:%M", then)
    return time.strftime("%b%d" if then.tm_year == now.tm_year else "%Y", then)


def _terminal(number: int) -> str:
    major, minor = os.major(number), os.minor(number)
    if major in _TTY_SLAVES:
        return f"pts/{minor + 256 * (major - _TTY_SLAVES.start)}"
    return f"tty{minor}" if major == 4 and minor < 64 else "?"


def _by_ps(pids: set[int], options: tuple[str, ...]) -> ProcessList:
    """The lines of ps that have one of the pids."""
    lines = _ps(options).split("\n")
    titles = lines[0].split()
    if "PID" not in titles:
        raise NacreError("Couldn't find PID field in ps output")
    place, last = titles.index("PID"), len(titles) - 1
    found, ours = [], False
    for line in lines[1:]:
        words = line.split(None, last)
        if len(words) <= place:
            continue
        ours = (words[place].isdigit() and int(words[place]) in pids) or (words[place] == "-" and ours)
        if ours:
            found.append((*words, *[""] * (len(titles) - len(words))))
    return ProcessList(tuple(titles), tuple(found))


def _ps(options: tuple[str, ...]) -> str:
    import subprocess

    try:
        done = subprocess.run(
            ["ps", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise NotFound(
            "no program named ps is installed, which options need", hint="leave them out"
        ) from None
    except (OSError, ValueError) as error:
        raise SandboxError(f"cannot run ps: {error}") from None
    if done.returncode:
        why = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise NacreError(f"ps: {why or f'exit code {done.returncode}'}")
    return done.stdout
