"""The control groups of one container: made before its first process, which enters them, removed at its end.

name of a group   nacre.ID, beneath the group of the process that keeps the container, so that limits
                  further up hold too; with `parent` beneath that path
version 1         one in each hierarchy; cpuset only where it is asked for, since it must be filled first
version 2         one, with controllers as far as they can be had (`delegation`)
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from ...words.value import Value
from ..linux import start_time
from .hierarchies import OURS, numbers, places, read, words_of, write
from .settings import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .hierarchies import Hierarchy
    from .settings import Setting

    Resources = Mapping[str, Any]

_PASSING = "step-"
_USUAL = ("memory", "cpu", "cpuacct", "pids", "blkio")
_NOBODY_LIMITS = "this version of control groups has no such limit"
_NOT_MOUNTED = "no control group for it is mounted here"
_NOT_PERMITTED = "its control group belongs to root, and is not delegated to you"
_BUSY, _GONE, _PROCESS_GONE, _INVALID = 16, 2, 3, 22
_ATTEMPTS, _MOMENT = 200, 0.005
_SIGKILL = 9


class ControlGroup(Value):
    """A control group that was made: the `folder`, and what it can limit."""

    version: int
    folder: str
    controllers: tuple[str, ...]


class MissingLimit(Value):
    """A limit that cannot be had here: its controller, what the user calls it, and why."""

    controller: str
    option: str
    why: str


def reachable(
    resources: Resources, parent: str = "", pid: int | str = "self"
) -> tuple[list[Hierarchy], list[MissingLimit]]:
    """Where groups can be made for a process, and which limits have no such place."""
    try:
        seen = places(pid)
    except OSError:
        seen = []
    reasons = {place: _why_not(place, parent, pid) for place in seen}
    lost = []
    for setting in _settings(resources, seen):
        own = [reasons[place] for place in seen if setting.controller in place.controllers]
        why = own[0] if own else _NOT_MOUNTED
        if why:
            lost.append(MissingLimit(setting.controller, setting.option, why))
    return [place for place in seen if not reasons[place]], lost


def _why_not(place: Hierarchy, parent: str, pid: int | str) -> str:
    if place.version != 1:
        from . import delegation

        return delegation.why_not(place, parent, pid)
    return "" if os.access(_beneath(place, ""), os.W_OK) else _NOT_PERMITTED


def refused(resources: Resources, parent: str = "") -> list[MissingLimit]:
    """What of `resources` cannot be limited here; nothing is left behind.

    Raises SandboxError for what the kernel does not take.
    """
    found, lost = reachable(resources, parent)
    first = [place for place in found if place.version == 1]
    tried = make(f"try-{os.urandom(6).hex()}", resources, first, parent)
    try:
        lost += tried.apply(resources)
    finally:
        tried.remove()
    return [*lost, *_refused_by_second(found, resources)]


def _refused_by_second(found: list[Hierarchy], resources: Resources) -> list[MissingLimit]:
    """Where a trial would move processes it is not made."""
    names = {name for place in found if place.version != 1 for name in place.controllers}
    return [
        MissingLimit(each.controller, each.option, _NOBODY_LIMITS)
        for each in settings(resources, 2)
        if each.controller in names and not each.choices
    ]


def _settings(resources: Resources, seen: list[Hierarchy]) -> list[Setting]:
    """By the hierarchies that there are."""
    old = {name for place in seen if place.version == 1 for name in place.controllers}
    first = [each for each in settings(resources, 1) if each.controller in old]
    options = {each.option for each in first}
    return first + [each for each in settings(resources, 2) if each.option not in options]


class ControlGroups:
    """Those of one container."""

    def __init__(self, groups: Iterable[ControlGroup] = ()) -> None:
        self.groups = list(groups)

    @property
    def folders(self) -> list[str]:
        """For processes to enter."""
        return [group.folder for group in self.groups]

    def folder(self, controller: str) -> str:
        """Of the group that has a controller; "" for none."""
        return next((group.folder for group in self.groups if controller in group.controllers), "")

    def apply(self, resources: Resources) -> list[MissingLimit]:
        """Set limits; what cannot be limited is given back. Raises SandboxError for a refused value."""
        lost = []
        for group in self.groups:
            mine = [
                each for each in settings(resources, group.version) if each.controller in group.controllers
            ]
            lost += _set(group.folder, mine)
        return lost

    def move(self, pids: Iterable[int]) -> None:
        """Have processes enter; those that are gone are fine. Raises OSError."""
        for pid in pids:
            for group in self.groups:
                _move(group.folder, pid)

    def oom_kills(self) -> int:
        """How many processes the kernel has killed in them because memory ran out."""
        folder = self.folder("memory")
        files = ("memory.events", "memory.oom_control") if folder else ()
        return max((numbers(folder, name).get("oom_kill", 0) for name in files), default=0)

    def remove(self) -> None:
        """With the processes that are still in them. Never fails."""
        for group in reversed(self.groups):
            remove(group.folder)


def make(
    name: str,
    resources: Resources,
    found: list[Hierarchy],
    parent: str = "",
    note: Callable[[list[ControlGroup]], object] = lambda _groups: None,
) -> ControlGroups:
    """Groups beneath those that are `reachable`, without limits yet.

    `note` hears of them before they are there. Raises SandboxError; then there are none.
    """
    wants_set = not {"cpus", "mems"}.isdisjoint(resources.get("cpu") or {})
    names = (*_USUAL, "cpuset") if wants_set else _USUAL
    groups = [
        _group(place, f"{OURS}{name}", parent)
        for place in found
        if place.version != 1 or not set(names).isdisjoint(place.controllers)
    ]
    made = ControlGroups(groups)
    note(groups)
    try:
        for group in groups:
            _make(group.folder)
    except OSError as error:
        made.remove()
        raise SandboxError(f"cannot make a control group: {error}") from None
    return made


class StepGroups:
    """`with StepGroups(resources, parent) as folders`: groups for the time of one program, by this process.

    Those of a process that was killed meanwhile are removed by `sweep`. Raises SandboxError.
    """

    def __init__(self, resources: Resources, parent: str = "") -> None:
        self._resources, self._parent = resources, parent

    def __enter__(self) -> list[str]:
        sweep(self._parent)
        pid = os.getpid()
        name = f"{_PASSING}{pid}-{start_time(pid)}-{os.urandom(4).hex()}"
        found, _ = reachable(self._resources, self._parent)
        self._groups = make(name, self._resources, found, self._parent)
        try:
            self._groups.apply(self._resources)
        except BaseException:
            self._groups.remove()
            raise
        return self._groups.folders

    def __exit__(self, *_exc: object) -> None:
        self._groups.remove()


def sweep(parent: str = "") -> None:
    """Remove what killed users of `StepGroups` left beneath our own groups, or `parent`. Never fails."""
    try:
        for place in places():
            folder = _beneath(place, parent)
            for name in os.listdir(folder):
                if name.startswith(f"{OURS}{_PASSING}") and not _lives(name):
                    os.rmdir(f"{folder}/{name}")
    except OSError:
        return


def _lives(name: str) -> bool:
    pid, started, _ = name.removeprefix(f"{OURS}{_PASSING}").split("-")
    return start_time(int(pid)) == int(started)


def _group(place: Hierarchy, name: str, parent: str) -> ControlGroup:
    if place.version == 1:
        return ControlGroup(1, f"{_beneath(place, parent)}/{name}", place.controllers)
    from . import delegation

    folder, controllers = delegation.prepared(place, parent)
    return ControlGroup(2, f"{folder}/{name}", controllers)


def _beneath(place: Hierarchy, parent: str) -> str:
    """A parent with a slash counts from the root, one without from our own group."""
    above = place.top if parent.startswith("/") else place.folder
    return f"{above}/{parent.strip('/')}".rstrip("/")


def _make(folder: str) -> None:
    above = os.path.dirname(folder)
    if not os.path.isdir(above):  # one by one: a cpuset takes nobody in before it has values
        _make(above)
    os.makedirs(folder, 0o755, exist_ok=True)
    for name in ("cpuset.mems", "cpuset.cpus"):
        if os.path.exists(f"{folder}/cpuset.memory_migrate") and not words_of(folder, name):
            write(folder, name, read(above, name).strip())


def _set(folder: str, wanted: list[Setting]) -> list[MissingLimit]:
    """A value may be refused because of another that is yet to be set, so it is tried again after them."""
    lost, late = [], []
    for setting in wanted:
        name, text = _choose(folder, setting)
        if not name:
            lost.append(MissingLimit(setting.controller, setting.option, _NOBODY_LIMITS))
            continue
        try:
            write(folder, name, text)
        except OSError:
            late.append((setting, name, text))
    for setting, name, text in late:
        try:
            write(folder, name, text)
        except OSError as error:
            raise SandboxError(_sentence(folder, setting, text, error)) from None
    return lost


def _choose(folder: str, setting: Setting) -> tuple[str, str]:
    there = (choice for choice in setting.choices if os.path.exists(f"{folder}/{choice[0]}"))
    return next(there, ("", ""))


def _sentence(folder: str, setting: Setting, text: str, error: OSError) -> str:
    if error.errno == _BUSY and setting.option == "memory":
        used = read(folder, "memory.usage_in_bytes") or read(folder, "memory.current")
        return f"cannot set --memory to {text}: the container uses {used.strip()} bytes"
    return f"cannot set --{setting.option} to {text!r}: {(error.strerror or str(error)).lower()}"


def _move(folder: str, pid: int) -> None:
    try:
        write(folder, "cgroup.procs", str(pid))
    except OSError as error:
        if error.errno not in (_PROCESS_GONE, _INVALID):  # it has ended, or ends
            raise


def remove(folder: str) -> None:
    """A group, with its processes: those that are killed are in it until they are gone. Never fails."""
    from time import sleep

    for _ in range(_ATTEMPTS):
        if _try_to_remove(folder):
            return
        sleep(_MOMENT)


def _try_to_remove(folder: str) -> bool:
    """Also True if another attempt would be of no use."""
    try:
        os.rmdir(folder)
    except OSError as error:
        return error.errno != _BUSY or not _kill(folder)
    return True


def _kill(folder: str) -> bool:
    """All that are in a group; False if nobody is."""
    pids = words_of(folder, "cgroup.procs")
    try:
        write(folder, "cgroup.kill", "1")
    except OSError:  # version 1, or Linux before 5.14
        for pid in pids:
            _end(int(pid))
    return bool(pids)


def _end(pid: int) -> None:
    try:
        os.kill(pid, _SIGKILL)
    except OSError:
        return
