"""What trees emit and the sandbox consumes: a file system to be mounted, as a value.

Trees never mount; the sandbox knows no images. A `Mount` names everything the kernel needs and
nothing else, so that it can be printed, compared and handed to another process.
"""

from __future__ import annotations

from .value import Value

PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
"""Whether mounts made later are seen on the other side, in the words of mount(8)."""


BY_DESCRIPTOR = "/proc/self/fd/"
"""How a path begins that names a mount by a descriptor of the process that uses it; 32 or higher."""


class Bind(Value):
    """An existing folder or file of the host, `source` an absolute path."""

    source: str
    readonly: bool = False
    recursive: bool = True


class Erofs(Value):
    """A read-only EROFS image: `index` the metadata, `devices` the data blobs in slot order.

    `lazy`: the indexes of those layers in it whose content is still coming; to be held while it is mounted.
    """

    index: str
    devices: tuple[str, ...] = ()
    lazy: tuple[str, ...] = ()


class Overlay(Value):
    """A union of `lowers` (topmost first), writable when `upper` and `work` are given.

    `userxattr` says where whiteouts and opaque marks are kept: user.overlay.* (a user namespace)
    or trusted.overlay.* (root). `volatile`: what is written is not synced, neither when a program asks for
    it nor when the mount ends, and need not survive a crash.
    """

    lowers: tuple[str | Erofs, ...]
    upper: str = ""
    work: str = ""
    userxattr: bool = False
    volatile: bool = False


class Directory(Value):
    """A folder that is a whole root already, for machines that permit no mount.

    `aside`: a folder beside it, on the same file system, for what is covered while a program runs there.
    """

    path: str
    aside: str = ""


class Tmpfs(Value):
    """An empty file system in memory; `size` in bytes (0: the kernel's default), `mode` of its root."""

    size: int = 0
    mode: int = 0o1777


Mount = Bind | Erofs | Directory | Overlay | Tmpfs
