"""A user namespace that is only a table of ids, for idmapped mounts.

Source: mount_setattr(2), user_namespaces(7).
"""

from __future__ import annotations

import os

from ..words.errors import SandboxError
from . import linux
from .fork import fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .fork import ChildReport

    Extents = Sequence[tuple[int, int, int]]


def user_namespace(uids: Extents, gids: Extents) -> int:
    """A descriptor of one with these extents: first inside, first outside, count. Raises SandboxError."""
    ready, go = os.pipe2(os.O_CLOEXEC)

    def work(report: ChildReport) -> None:
        linux.unshare(linux.CLONE_NEWUSER)
        report.tell()
        os.read(ready, 1)

    try:
        with fork(work, what="the process that maps ids", keep=(ready,)) as child:
            child.answer()
            for kind, extents in (("uid", uids), ("gid", gids)):
                _write(f"/proc/{child.pid}/{kind}_map", extents)
            fd = os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            os.write(go, b".")
            child.wait()
            return fd
    except OSError as error:
        raise SandboxError(f"cannot make a map of ids: {error.strerror}") from None
    finally:
        os.close(ready)
        os.close(go)


def _write(path: str, extents: Extents) -> None:
    text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in extents)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
