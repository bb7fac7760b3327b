"""Where a process is in the hierarchies of control groups that this mount namespace shows.

Source: cgroups(7), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os

from ...words.errors import SandboxError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTROLLERS = ("memory", "cpu", "cpuacct", "cpuset", "pids", "blkio", "io")
OURS = "nacre."
"""How the names of our groups with limits begin."""

_ROOT, _POINT, _OPTIONS = 3, 4, 5


class Hierarchy(Value):
    """The group of a process in one hierarchy.

    `top` is where the hierarchy is mounted, `folder` the group itself; `controllers` what can be limited.
    """

    version: int
    top: str
    folder: str
    controllers: tuple[str, ...]

    @property
    def is_root(self) -> bool:
        """Whether it is the root of the whole hierarchy, which has no type."""
        return not os.path.exists(f"{self.folder}/cgroup.type")


def places(pid: int | str = "self") -> list[Hierarchy]:
    """The hierarchies that have a controller of ours, those of version 1 first. Raises OSError."""
    return list(parse(_text(f"/proc/{pid}/cgroup"), _text("/proc/self/mountinfo")))


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def parse(groups: str, mountinfo: str) -> Iterator[Hierarchy]:
    """From the content of /proc/PID/cgroup and /proc/self/mountinfo."""
    mounted = list(_mounts(mountinfo))
    lines = [line for line in groups.split("\n") if line]
    for line in sorted(lines, key=lambda line: line.startswith("0::")):
        _, names, path = line.split(":", 2)
        controllers = tuple(name for name in names.split(",") if name in CONTROLLERS)
        if not names:
            yield from _version2(path, mounted)
        elif controllers:
            yield from _version1(path, controllers, mounted)


def folders() -> list[str]:
    """Our groups in all hierarchies that are mounted here, with controllers or not. Raises OSError."""
    mounted = list(_mounts(_text("/proc/self/mountinfo")))
    lines = [line.split(":", 2) for line in _text("/proc/self/cgroup").split("\n") if line]
    found = [_seen(path, set(names.split(",")) - {""}, mounted)[1] for _, names, path in lines]
    return [folder for folder in found if folder]


def roots() -> list[str]:
    """Where all hierarchies are mounted that are mounted here. Raises OSError."""
    mounted = list(_mounts(_text("/proc/self/mountinfo")))
    return [point for _, _, point, _ in reversed(mounted)]


def _seen(path: str, names: set[str], mounted: Iterable[tuple[str, str, str, set[str]]]) -> tuple[str, str]:
    """Where the hierarchy with these names (version 2 has none) is mounted, and a group of it is seen.

    Both are "" out of sight.
    """
    wanted = "cgroup" if names else "cgroup2"
    for kind, root, point, options in mounted:
        if kind == wanted and options >= names and (folder := _folder(path, root, point)):
            return point, folder
    return "", ""


def unified_folder(pid: int | str = "self") -> str:
    """The group of a process in the hierarchy of version 2, with controllers or not; "" out of sight."""
    groups, mountinfo = read(f"/proc/{pid}", "cgroup"), read("/proc/self", "mountinfo")
    path = next((line[3:] for line in groups.split("\n") if line.startswith("0::")), "")
    return _seen(path, set(), _mounts(mountinfo))[1] if path else ""


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, str, set[str]]]:
    """Kind, root, place and options of the superblock, the newest first: it covers the others."""
    for line in reversed(mountinfo.strip().split("\n")):
        fields, _, rest = line.partition(" - ")
        kind, _, options = (*rest.split(" ", 2), "", "")[:3]
        if kind in ("cgroup", "cgroup2"):
            words = fields.split(" ")
            if words[_OPTIONS].split(",")[0] == "rw":
                yield kind, words[_ROOT], words[_POINT], set(options.split(","))


def _version1(
    path: str, controllers: tuple[str, ...], mounted: list[tuple[str, str, str, set[str]]]
) -> Iterator[Hierarchy]:
    point, folder = _seen(path, set(controllers), mounted)
    if folder:
        yield Hierarchy(1, point, folder, controllers)


def _version2(path: str, mounted: list[tuple[str, str, str, set[str]]]) -> Iterator[Hierarchy]:
    point, folder = _seen(path, set(), mounted)
    if folder:
        controllers = tuple(name for name in words_of(folder, "cgroup.controllers") if name in CONTROLLERS)
        if controllers:
            yield Hierarchy(2, point, folder, controllers)


def _folder(path: str, root: str, point: str) -> str:
    """Where a group is seen; "" where it is out of sight, as behind the root of a namespace."""
    if root != "/":
        if path != root and not path.startswith(f"{root}/"):
            return ""
        path = path[len(root) :]
    folder = f"{point}{path}".rstrip("/")
    return folder if "/../" not in f"{path}/" and os.path.exists(f"{folder}/cgroup.procs") else ""


def words_of(folder: str, name: str) -> list[str]:
    """The words of a file of a group; [] where it cannot be read."""
    return read(folder, name).split()


def read(folder: str, name: str) -> str:
    """A file of a group; "" where it cannot be read."""
    try:
        with open(f"{folder}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def numbers(folder: str, name: str) -> dict[str, int]:
    """A file of a group with lines of a name and a number."""
    pairs = (line.split() for line in read(folder, name).split("\n"))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}


def enter(folders: Iterable[str]) -> None:
    """Put this process into groups. Raises SandboxError."""
    for folder in folders:
        try:
            write(folder, "cgroup.procs", "0")
        except OSError as error:
            raise SandboxError(f"cannot enter the control group {folder}: {error.strerror}") from None


def write(folder: str, name: str, text: str) -> None:
    """Set a value. Raises OSError, at once: a buffered write would tell of it too late."""
    fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
