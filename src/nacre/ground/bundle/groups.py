"""Control groups at the path that a config gives, in every hierarchy that is mounted.

version 1   a group in each hierarchy, all under the one path
version 2   one group, with the controllers that those above can pass on
hybrid      version 1, and the group of version 2 beside them

A path with a slash begins at the mount, one without at the group of who makes the container. The devices that
every container may use are runc's. Source: cgroups(7), OCI runtime-spec config-linux.md "Control groups",
runc libcontainer/cgroups.
"""

from __future__ import annotations

import os
from time import sleep

from ...words.errors import SandboxError, UsageError
from ...words.value import Value
from .. import cgroups, linux
from ..limits.groups import ControlGroup
from ..limits.hierarchies import read, words_of, write
from ..limits.settings import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from ..limits.settings import Setting

    Resources = Mapping[str, Any]

_ROOT, _POINT = 3, 4
_ATTEMPTS, _MOMENT = 400, 0.005
_BUSY, _GONE = 16, 2
_SIGKILL = 9
_CHARS = ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (136, -1), (5, 2))
DEVICES = (
    {"allow": True, "type": "c", "access": "m"}, {"allow": True, "type": "b", "access": "m"},
    *({"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
      for major, minor in _CHARS),
)  # fmt: skip
"""What every container may use: make any node, and open those that have no danger."""


class MountedHierarchy(Value):
    """A hierarchy: where it is mounted, our own group in it, its controllers, and the name of its folder."""

    version: int
    top: str
    folder: str
    controllers: tuple[str, ...]
    name: str = ""

    def above(self, path: str) -> str:
        """The group in which a path of a config begins."""
        return self.top if path.startswith("/") else self.folder


def places() -> list[MountedHierarchy]:
    """The hierarchies that are mounted, those of version 1 first. Raises OSError."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        mounted = [found for found in map(_mounted, file) if found]
    seen = [_place(names, path, mounted) for _, names, path in sorted(lines, key=lambda line: not line[1])]
    return [place for place in seen if place]


def _mounted(line: str) -> tuple[str, str, str, frozenset[str]] | None:
    """Kind, root, place and options of a mount, if it is one of control groups."""
    fields, _, rest = line.partition(" - ")
    kind, _, options = (*rest.rstrip("\n").split(" ", 2), "", "")[:3]
    words = fields.split(" ")
    if kind not in ("cgroup", "cgroup2"):
        return None
    return kind, words[_ROOT], words[_POINT], frozenset(options.split(","))


def _place(
    names: str, path: str, mounted: Iterable[tuple[str, str, str, frozenset[str]]]
) -> MountedHierarchy | None:
    controllers = tuple(names.split(",")) if names else ()
    for kind, root, point, options in mounted:
        if (kind == "cgroup2") != (not names) or not options.issuperset(controllers):
            continue
        inner = path if root == "/" else path.removeprefix(root)
        if inner == path and root != "/" and path != root:
            inner = "/"
        folder = f"{point}{inner}".rstrip("/")
        if "/../" in f"{inner}/" or not os.path.isdir(folder):
            continue
        if not names:
            return MountedHierarchy(2, point, folder, tuple(words_of(folder, "cgroup.controllers")))
        return MountedHierarchy(1, point, folder, controllers, os.path.basename(point))
    return None


def find(path: str, name: str) -> list[ControlGroup]:
    """The groups for a container called `name`, whose config says `path`. Raises UsageError.

    Without a path their name is none that `cgroups.tidy` would take for its own.
    """
    if ".." in path.split("/") or ":" in path:
        raise UsageError(f"config.json: linux.cgroupsPath is {path!r}, which is no path of a control group")
    try:
        seen = places()
    except OSError:
        return []
    inner = path.strip("/") or f"runtime-{name}"
    return [ControlGroup(place.version, f"{place.above(path)}/{inner}", place.controllers) for place in seen]


def make(groups: Sequence[ControlGroup], resources: Resources, *, needed: bool) -> list[ControlGroup]:
    """Make those groups and set their limits; those that were made or were there.

    Where that is not permitted there are none, unless one is `needed`. Raises SandboxError, UsageError; then
    nothing stays that was not there before.
    """
    made: list[ControlGroup] = []
    new: list[str] = []
    try:
        for group in groups:
            if _make(group, new, needed=needed):
                made.append(group)
        apply(made, resources)
    except BaseException:
        for folder in reversed(new):
            _remove(folder)
        raise
    return made


def _make(group: ControlGroup, new: list[str], *, needed: bool) -> bool:
    try:
        _make_folder(group, group.folder, new)
    except OSError as error:
        is_denied = isinstance(error, PermissionError) or error.errno == 30
        if is_denied and not (needed and group.controllers):
            return False
        raise SandboxError(f"cannot make the control group {group.folder}: {error.strerror}") from None
    return True


def _make_folder(group: ControlGroup, folder: str, new: list[str]) -> None:
    """One by one: a cpuset takes nobody in before it has values, and controllers come from above."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _make_folder(group, above, new)
    if group.version == 2:
        _pass_on(above)
    os.mkdir(folder, 0o755)
    new.append(folder)
    for name in ("cpuset.mems", "cpuset.cpus"):
        if group.version == 1 and os.path.exists(f"{folder}/{name}") and not words_of(folder, name):
            write(folder, name, " ".join(words_of(above, name)))


def _pass_on(folder: str) -> None:
    """What a group has of controllers is for those beneath it, one by one: some may be refused."""
    given = words_of(folder, "cgroup.subtree_control")
    for name in words_of(folder, "cgroup.controllers"):
        if name not in given:
            try:
                write(folder, "cgroup.subtree_control", f"+{name}")
            except OSError:
                continue


def apply(groups: Sequence[ControlGroup], resources: Resources) -> None:
    """Set limits. Raises SandboxError that names one which cannot be had, and UsageError."""
    from .settings import more_settings
    from .settings import wanted as said

    resources = said(resources)
    _check_usage(groups, resources.get("memory") or {})
    versions = {1} if any(group.version == 1 and group.controllers for group in groups) else {2}
    found = [
        _file_of(setting, groups)
        for version in versions
        for setting in (*settings(resources, version), *more_settings(resources, version))
    ]
    for folder, name, value in _refused(found):
        try:
            write(folder, name, value)
        except OSError as error:
            raise SandboxError(f"cannot write {value!r} to {folder}/{name}: {error.strerror}") from None


def _file_of(setting: Setting, groups: Sequence[ControlGroup]) -> tuple[str, str, str]:
    """Folder, name and value of the first of its files that is here. Raises SandboxError."""
    folder = next((group.folder for group in groups if _is_in(setting.controller, group)), "")
    for name, value in setting.choices if folder else ():
        if os.path.exists(f"{folder}/{name}"):
            return folder, name, value
    raise SandboxError(f"linux.resources: there is no control group here that limits {setting.option}")


def _check_usage(groups: Sequence[ControlGroup], memory: Mapping[str, Any]) -> None:
    """With `checkBeforeUpdate` a limit that is used up already is refused, instead of killing processes."""
    if not memory.get("checkBeforeUpdate") or memory.get("limit", -1) < 0:
        return
    for group in groups:
        used = words_of(group.folder, "memory.current")
        if used and int(used[0]) > memory["limit"]:
            raise SandboxError(
                f"linux.resources.memory.limit is {memory['limit']}, and {used[0]} bytes are used"
            )


def _is_in(controller: str, group: ControlGroup) -> bool:
    return controller in group.controllers or (not controller and group.version == 2)


def _refused(wanted: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Those that were not taken; a value may be refused because of another that is yet to be set."""
    again = []
    for folder, name, value in wanted:
        try:
            write(folder, name, value)
        except OSError:
            again.append((folder, name, value))
    return again


def rules(resources: Resources) -> list[Mapping[str, Any]]:
    """What a config allows of devices, with what every container may use. Raises UsageError.

    As in runc nothing is allowed at first. A rule that denies takes away an earlier one of the same devices.
    """
    found: list[Mapping[str, Any]] = []
    for number, rule in enumerate(resources.get("devices") or ()):
        kind = rule.get("type") or "a"
        if kind == "a":
            found = [{"allow": True, "type": "a", "access": "rwm"}] if rule["allow"] else []
        elif rule["allow"]:
            found.append(rule)
        else:
            found = _without(found, rule, number)
    return [*found, *DEVICES]


def _without(found: list[Mapping[str, Any]], rule: Mapping[str, Any], number: int) -> list[Mapping[str, Any]]:
    if any(one.get("type") == "a" for one in found):
        raise UsageError(
            f"config.json: linux.resources.devices[{number}] denies a device after all were allowed, "
            "which is not supported"
        )
    names = ("type", "major", "minor")
    same = [one for one in found if all(one.get(name, -1) == rule.get(name, -1) for name in names)]
    kept = [one for one in found if one not in same]
    for one in same:
        access = "".join(sorted(set(one.get("access") or "rwm") - set(rule.get("access") or "rwm")))
        if access:
            kept.append({**one, "access": access})
    return kept


def limit_devices(groups: Sequence[ControlGroup], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Let those in the groups use these devices only; False if no group can do that. Raises OSError."""
    for group in groups:
        if "devices" in group.controllers:
            _write_devices(group.folder, wanted)
            return True
    for group in groups:
        if group.version == 2:
            fd = os.open(group.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                linux.attach_to_cgroup(fd, cgroups.program(wanted))
            finally:
                os.close(fd)
            return True
    return False


def _write_devices(folder: str, wanted: Sequence[Mapping[str, Any]]) -> None:
    if any(rule.get("type", "a") == "a" for rule in wanted):
        return write(folder, "devices.allow", "a")
    write(folder, "devices.deny", "a")
    for rule in wanted:
        numbers = ":".join("*" if rule.get(name, -1) < 0 else str(rule[name]) for name in ("major", "minor"))
        write(folder, "devices.allow", f"{rule['type']} {numbers} {rule.get('access') or 'rwm'}")
    return None


def members(folders: Sequence[str]) -> list[int]:
    """The processes in the groups and in those beneath. Where one cannot be read there are none."""
    found: set[int] = set()
    for folder in folders[:1]:
        for where, _, _ in os.walk(folder):
            found.update(int(word) for word in words_of(where, "cgroup.procs"))
    return sorted(found)


def send(folders: Sequence[str], number: int) -> None:
    """A signal to all who are in the groups."""
    for pid in members(folders):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def remove(folders: Sequence[str]) -> None:
    """With the processes that are in them. Raises SandboxError if one stays."""
    for folder in folders:
        for where, _, _ in os.walk(folder, topdown=False):
            if not _remove(where):
                raise SandboxError(f"cannot remove the control group {where}: it is in use")


def _remove(folder: str) -> bool:
    for _ in range(_ATTEMPTS):
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno != _BUSY:
                return error.errno == _GONE
            send([folder], _SIGKILL)
            sleep(_MOMENT)
        else:
            return True
    return False


def freeze(groups: Sequence[tuple[str, str]], *, still: bool) -> bool:
    """Stop all who are in the groups, or let them go on; False where no group can.

    `groups` are folders with the names of their controllers. Raises SandboxError.
    """
    for folder, names in groups:
        name, word, seen, text = _freezer(names, still=still)
        if not os.path.exists(f"{folder}/{name}"):
            continue
        write(folder, name, word)
        for _ in range(_ATTEMPTS):
            if text in read(folder, seen):
                return True
            sleep(_MOMENT)
            write(folder, name, word)
        raise SandboxError(f"cannot change the state of the control group {folder}")
    return False


def _freezer(names: str, *, still: bool) -> tuple[str, str, str, str]:
    """The file to write, what, the file to look at, and what to find there."""
    if "freezer" in names.split(","):
        word = "FROZEN" if still else "THAWED"
        return "freezer.state", word, "freezer.state", word
    return "cgroup.freeze", "1" if still else "0", "cgroup.events", f"frozen {int(still)}"


def is_frozen(groups: Sequence[tuple[str, str]]) -> bool:
    """Whether all who are in the groups stand still."""
    for folder, names in groups:
        if "freezer" in names.split(",") and "THAWED" not in words_of(folder, "freezer.state"):
            return bool(words_of(folder, "freezer.state"))
        if words_of(folder, "cgroup.freeze") == ["1"]:
            return True
    return False
