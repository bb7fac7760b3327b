"""How the folder of an entry is found in the tree that a layer is applied to.

Whoever has the tree, in columns or on a disk, gives one step at a time; the rules are the same:

    a link on the way     is followed, from the root of the tree if its target is absolute
    `..`                  goes one folder up, at the root nowhere
    what is missing       is made later, and nothing lies beneath it: a `..` behind it takes it back
    anything else         is no folder, and the entry is refused

So `var/run -> /run` and then `var/run/x` make `run/x` whether there was a `run` or not, as containerd and
moby do (continuity fs.RootPath). The kernel alone would refuse a link that leads nowhere.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Folder = TypeVar("Folder")
    Step = Callable[[Folder, bytes], Folder | bytes | None]

MAX_LINKS = 40
"""Links on the way to one path, as for the kernel (path_resolution(7))."""

ABSENT = "leads to a missing file or directory"
LONG = "has a name longer than the file system allows"
LOOP = "leads through a loop of symbolic links"
NAMELESS = "has no name"
NO_FOLDER = "leads through a file that is not a directory"


class Refused(Exception):
    """Why an entry cannot be made, in words that follow on its name."""


class NoFolder(Refused):
    """A file, or another thing that is neither folder nor link, is on the way."""

    def __init__(self) -> None:
        super().__init__(NO_FOLDER)


def walk(path: bytes, root: Folder, step: Step[Folder]) -> list[tuple[bytes, Folder | None]]:
    """The way to the folder at `path`: name and folder of each part, without links; None where none is yet.

    `step(folder, name)` gives the folder of that name, the target of a link, or None for nothing. It may
    raise Refused, and so does a loop of links.
    """
    way: list[tuple[bytes, Folder | None]] = []
    waiting, links = path.split(b"/")[::-1], 0
    while waiting:
        name = waiting.pop()
        if name == b"..":
            del way[-1:]
        elif name not in (b"", b"."):
            above = way[-1][1] if way else root
            found = None if above is None else step(above, name)
            if isinstance(found, bytes):
                links += 1
                if links > MAX_LINKS:
                    raise Refused(LOOP)
                if found.startswith(b"/"):
                    way.clear()
                waiting += reversed(found.split(b"/"))
            else:
                way.append((name, found))
    return way
