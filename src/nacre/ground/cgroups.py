"""A control group of version 2 for each container, which says what devices its processes may use.

It lies beneath the group of whoever starts the container, so it ends and is counted with that one. Where the
machine does not show the hierarchy, it is mounted for a moment, attached nowhere. A group is threaded where
it can be: one thread may enter such a group without a lock that every fork of the machine has to wait for
(12 ms if nobody has taken it lately). Source: Linux Documentation/admin-guide/cgroup-v2.rst, uapi/linux/bpf.h
(struct bpf_cgroup_dev_ctx).
"""

from __future__ import annotations

import os
from _struct import Struct

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_PREFIX, _LIMITED = "nacre-", "nacre."
CURRENT = "."
"""The group that a process is in already, as the name of a group."""
_HEXADECIMAL = "0123456789abcdef"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_ATTEMPTS = 16
_ENOENT, _ENODEV = 2, 19

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7
_INSTRUCTION = Struct("=BBhi").pack
_LOAD, _COPY, _AND, _SHIFT, _JUMP_UNLESS, _JUMP_UNLESS_SAME, _SET, _EXIT = (
    0x61, 0xBF, 0x57, 0x77, 0x55, 0x5D, 0xB7, 0x95,
)  # fmt: skip


def new_name() -> str:
    """A name for a group, new each time, which says what process removes it: `nacre-PID-RANDOM`."""
    return f"{_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"


def _owner(name: str) -> int:
    """The process that has given a group its name; 0 for one that is not ours."""
    if not name.startswith(_PREFIX):
        return 0
    pid, _, rest = name.removeprefix(_PREFIX).partition("-")
    ours = pid.isascii() and pid.isdigit() and len(rest) == 12 and not rest.strip(_HEXADECIMAL)
    return int(pid) if ours else 0


def confine(name: str, rules: Iterable[Mapping[str, Any]]) -> None:
    """Put this process, which has one thread, into a new group `name` with `rules` for devices.

    `rules` are `linux.resources.devices` of an OCI runtime config. Raises OSError where that cannot be had;
    then this process is where it was. As CURRENT the group that it is in gets the rules.
    """
    code = program(rules)
    above = _open(path())
    try:
        if name == CURRENT:
            return linux.attach_to_cgroup(above, code)
        for attempt in range(_ATTEMPTS):
            try:
                return _confine(above, name, code)
            except OSError as error:  # somebody tidied up while the group was empty
                if error.errno not in (_ENOENT, _ENODEV) or attempt == _ATTEMPTS - 1:
                    raise
    finally:
        os.close(above)


def _confine(above: int, name: str, code: bytes) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=above)
        group = os.open(name, _FOLDER, dir_fd=above)
        try:
            linux.attach_to_cgroup(group, code)
            _take_threads(group)
            _enter(group)
        finally:
            os.close(group)
    except OSError:
        _remove(above, name)
        raise


def _take_threads(group: int) -> None:
    try:
        _write(group, "cgroup.type", "threaded")
    except OSError:  # a group beside it has controllers
        return


def _enter(group: int) -> None:
    """With the one thread that there is, else by the way that works for any process."""
    try:
        _write(group, "cgroup.threads", "0")
    except OSError:
        _write(group, "cgroup.procs", "0")


def _write(group: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=group)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def path(pid: int | str = "self") -> str:
    """The group of a process, from the root that we see; "" where there is no such hierarchy."""
    lines = linux.read_proc(f"/proc/{pid}/cgroup").decode("utf-8", "surrogateescape").split("\n")
    return next((line[3:] for line in lines if line.startswith("0::")), "")


class GroupsOf:
    """The groups that were made for the process `pid`; there may be none. `close` it. Raises OSError.

    What is looked up here costs a process that is forked to `enter` them no page of its own.
    """

    def __init__(self, pid: int) -> None:
        self._pid, self._limited, self._fd = pid, is_limited(pid), -1
        theirs = path(pid)
        if theirs != path() and _is_ours(theirs):
            self._fd = _open(theirs)

    def enter(self) -> None:
        """Enter them, with this process. Raises OSError, SandboxError."""
        if self._limited:
            from .limits.joining import follow

            follow(self._pid)
        if self._fd >= 0:
            _enter(self._fd)

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _is_ours(group: str) -> bool:
    return _owner(os.path.basename(group)) > 0


def is_limited(pid: int) -> bool:
    """Whether a process is in a group of `limits` in any hierarchy."""
    lines = linux.read_proc(f"/proc/{pid}/cgroup").split(b"\n")
    return any(line.rpartition(b"/")[2].startswith(_LIMITED.encode()) for line in lines)


def tidy() -> None:
    """Remove the groups beneath our own that are this process's, or one's that is gone. Never fails.

    Those that somebody is in stay, and so do those of whoever else uses such names.
    """
    try:
        above = _open(path())
    except OSError:
        return
    own = os.getpid()
    try:
        for name in os.listdir(above):
            owner = _owner(name)
            if owner and (owner == own or not os.path.exists(f"/proc/{owner}")):
                _remove(above, name)
    finally:
        os.close(above)


def _remove(above: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=above)
    except OSError:
        return


def _open(group: str) -> int:
    """A descriptor of a group. Raises OSError."""
    if not group or "/../" in f"{group}/":
        raise FileNotFoundError(_ENOENT, "the control group is out of sight")
    root = _mounted()
    if root < 0:
        from . import mounts

        root = mounts.filesystem("cgroup2")
    try:
        return os.open(f".{group}", _FOLDER, dir_fd=root)
    finally:
        os.close(root)


def _mounted() -> int:
    """The hierarchy where it is mounted to be written, from our own root on; -1 where it is not.

    To mount it once more takes 5 to 10 ms: the kernel waits until no processor is in an old state (RCU).
    Source: proc_pid_mountinfo(5); names that are escaped there are not found; another mount may cover one.
    """
    lines = linux.read_proc("/proc/self/mountinfo").split(b"\n")
    for line in [line for line in lines if b" - cgroup2 " in line]:
        number, _, _, root, place, options = line.split(b" ", 6)[:6]
        if root == b"/" and options.startswith(b"rw"):
            fd = _folder_on(place, int(number))
            if fd >= 0:
                return fd
    return -1


def _folder_on(place: bytes, number: int) -> int:
    """The folder that a mount shows at its place; -1 where another lies over it, or it cannot be opened."""
    try:
        fd = os.open(place, _FOLDER)
    except OSError:
        return -1
    try:
        seen = linux.mount_id(fd)
    except BaseException:
        os.close(fd)
        raise
    if seen == number:
        return fd
    os.close(fd)
    return -1


def program(rules: Iterable[Mapping[str, Any]]) -> bytes:
    """The eBPF program that allows what `rules` allow and nothing else. Raises ValueError."""
    code = [
        _INSTRUCTION(_LOAD, 0x12, 0, 0), _INSTRUCTION(_LOAD, 0x14, 4, 0), _INSTRUCTION(_LOAD, 0x15, 8, 0),
        _INSTRUCTION(_COPY, 0x23, 0, 0), _INSTRUCTION(_AND, 3, 0, 0xFFFF), _INSTRUCTION(_SHIFT, 2, 0, 16),
    ]  # fmt: skip
    for rule in rules:
        if rule["allow"]:
            code += _rule(rule)
        elif len(code) > 6 or rule.get("type", "a") != "a":
            raise ValueError("the only rule that may deny a device is a first one for all")
    return b"".join([*code, _INSTRUCTION(_SET, 0, 0, 0), _INSTRUCTION(_EXIT, 0, 0, 0)])


def _rule(rule: Mapping[str, Any]) -> list[bytes]:
    """Registers: 2 access wanted, 3 type, 4 major, 5 minor. A test that fails jumps behind the rule."""
    access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    tests = [
        (register, value)
        for register, value in ((3, _TYPES.get(rule.get("type", "a"))), (4, _number(rule, "major")),
                                (5, _number(rule, "minor")))
        if value is not None
    ]  # fmt: skip
    code: list[tuple[int, int, int]] = [(_JUMP_UNLESS, register, value) for register, value in tests]
    if access != _ALL:
        code += [(_COPY, 0x21, 0), (_AND, 1, access), (_JUMP_UNLESS_SAME, 0x21, 0)]
    code += [(_SET, 0, 1), (_EXIT, 0, 0)]
    jumps = (_JUMP_UNLESS, _JUMP_UNLESS_SAME)
    return [
        _INSTRUCTION(kind, registers, len(code) - 1 - place if kind in jumps else 0, value)
        for place, (kind, registers, value) in enumerate(code)
    ]


def _number(rule: Mapping[str, Any], name: str) -> int | None:
    value = rule.get(name)
    return None if value is None or value < 0 else int(value)


def allows(rules: Iterable[Mapping[str, Any]], kind: str, major: int, minor: int) -> bool:
    """Whether a device may be read and written."""
    return any(
        rule["allow"] and rule.get("type", "a") in ("a", kind) and _number(rule, "major") in (None, major)
        and _number(rule, "minor") in (None, minor) and {"r", "w"} <= set(rule.get("access") or "rwm")
        for rule in rules
    )  # fmt: skip
