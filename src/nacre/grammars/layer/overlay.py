"""How overlayfs writes what whiteouts say: on disk as in an index a layer has these marks, not the names.

    whiteout   a character device 0/0 hides what lower layers have by its name
    opaque     an attribute of a folder hides what they have in it
    origin     an attribute of a folder that holds whiteouts: without it overlayfs would list them where no
               lower layer has that folder

The attributes begin with `trusted.overlay.`, in a user namespace with `user.overlay.`. Those of an image are
never taken over. Source: Linux, overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import stat

PREFIXES = (b"trusted.overlay.", b"user.overlay.")
OPAQUE = (b"trusted.overlay.opaque", b"y")
ORIGIN = (b"trusted.overlay.origin", b"")
"""Both as an index has them, which only root mounts."""

WHITEOUT = "whiteout"
KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
    stat.S_IFBLK: "block", stat.S_IFIFO: "fifo",
}  # fmt: skip
"""Kinds of tar entries by the type bits of a mode."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..tar.entry import Xattrs

_FORMAT = 0o170000


def is_whiteout(mode: int, rdev: int) -> bool:
    """Whether a file with these numbers of stat(2) is one."""
    return mode & _FORMAT == stat.S_IFCHR and not rdev


def kind_of(mode: int, rdev: int) -> str:
    """The kind as in a tar entry, "whiteout", or "" for what no layer holds (a socket)."""
    return WHITEOUT if is_whiteout(mode, rdev) else KINDS.get(mode & _FORMAT, "")


def without_marks(xattrs: Xattrs) -> Xattrs:
    """Attributes without those of overlayfs."""
    return tuple(pair for pair in xattrs if not pair[0].startswith(PREFIXES))
