"""Whether a driver works here: found out by trying, because no version number tells.

Each takes an empty folder of the store and gives one sentence why it works. Raises Unsupported.
"""

from __future__ import annotations

import os

from ...ground.files import private_dir
from ...words.errors import SandboxError, Unsupported
from ...words.mount import Overlay
from .model import HeldLocks, StoredTree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .interfaces import TreeForm
    from .model import Mode

_ENOTBLK = 15


def mounts_folders(mode: Mode, scratch: str) -> str:
    """Mount one for a moment, attached nowhere, and write through it."""
    from ...ground.mounts import detached

    for name in ("low", "more", "upper", "work"):
        private_dir(f"{scratch}/{name}")
    lowers = (f"{scratch}/low", f"{scratch}/more")
    try:
        fd = detached(Overlay(lowers, f"{scratch}/upper", f"{scratch}/work", mode.userxattr))
        try:
            os.mkdir("made", dir_fd=fd)
        finally:
            os.close(fd)
    except (OSError, SandboxError) as error:
        raise Unsupported(f"overlayfs cannot be mounted on this store: {error}") from None
    return "overlayfs can be mounted" + (" in this user namespace" if mode.userxattr else "")


def mounts_indexes(mode: Mode, form: TreeForm, scratch: str) -> str:
    """Index a small tar and read a file of it through overlayfs, attached nowhere."""
    if mode.userxattr:
        raise Unsupported("only root of the first user namespace can mount EROFS")
    for name in ("tree", "upper", "work"):
        os.mkdir(f"{scratch}/{name}", 0o700)
    try:
        with HeldLocks() as locks:
            sample = _Sample()
            form.ingest(sample, f"{scratch}/tree", locks)
        _read_through(form, scratch)
    except (OSError, SandboxError) as error:
        raise Unsupported(_why_not(error)) from None
    return "EROFS over a file of this store can be mounted"


def _read_through(form: TreeForm, scratch: str) -> None:
    from ...ground.mounts import detached
    from ...words.digest import Digest

    tree = StoredTree(Digest.of(b""), f"{scratch}/tree", form)
    fd = detached(Overlay((tree.lower(),), f"{scratch}/upper", f"{scratch}/work"))
    try:
        file = os.open(_Sample.NAME, os.O_RDWR | os.O_CLOEXEC, dir_fd=fd)
        try:
            if os.read(file, 100) != _Sample.DATA:
                raise OSError(0, "its content differs from the layer")
        finally:
            os.close(file)
    finally:
        os.close(fd)


def _why_not(error: OSError | SandboxError) -> str:
    text = str(getattr(error, "strerror", "") or error)
    if os.strerror(_ENOTBLK) in text:
        return "EROFS cannot be mounted from this store: its file system or the kernel needs a block device"
    return f"EROFS cannot be mounted from this store: {text[:1].lower()}{text[1:]}"


def lays_out(scratch: str) -> str:
    """Works everywhere; says by what means."""
    from ...ground.sandbox.permitted import describe
    from .forms.either import shares_blocks

    how = "sharing their blocks" if shares_blocks(scratch) else "copying them"
    return f"files can be placed by {how}, and {describe()}"


class _Sample:
    """A tar of one file."""

    NAME, DATA = "file", b"content\n"

    def __init__(self) -> None:
        from ...grammars.tar.entry import Entry
        from ...grammars.tar.write import TarWriter

        self._pieces: list[bytes] = []
        writer = TarWriter(self._pieces.append)
        writer.add(Entry(self.NAME.encode(), size=len(self.DATA)), _Once(self.DATA))
        writer.close()

    def read(self, _count: int, /) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class _Once:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, _count: int, /) -> bytes:
        data, self._data = self._data, b""
        return data
