"""RUN --mount: what each mount adds to the key, and what is bound into the container.

A bind shows a copy of the files selected, so .dockerignore holds for it, links lead nowhere, and what
the command writes there is dropped, as with docker. A cache is a folder of the store.
"""

from __future__ import annotations

import hashlib
import os

from ...ground import userns
from ...ground.extract import Form, extract
from ...ground.files import Lock, os_errors, private_dir
from ...images.fold import unsupported
from .place import Target, Terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.dockerfile.instructions import Instruction
    from ...grammars.dockerfile.mounts import RunMount
    from .items import Source
    from .select import Chosen


def check(mount: RunMount, item: Instruction) -> None:
    """Refuse what this version cannot do. Optional secrets and agents that nobody gave are left out."""
    if mount.kind in ("secret", "ssh") and mount.required:
        raise unsupported(item, f"with a required --mount=type={mount.kind}")
    if mount.kind == "cache" and (mount.source or mount.source_stage):
        raise unsupported(item, "--mount=type=cache with from or source")


def copy_out(source: Source, chosen: Chosen, folder: str) -> str:
    """Copy what was selected into a new folder; the path to bind: a folder, or the one file in it."""
    target = Target(lambda _: None, Terms())
    target.put(chosen, b"/mount" + (b"/" if chosen.is_folder else b""), source.open)
    private_dir(folder)
    whole = not userns.current().single
    with os_errors(f"write to {folder}"):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            entries = ((entry, payload or _Empty()) for entry, payload in target.entries())
            extract(entries, fd, Form(whiteouts="delete", owners=whole, devices=False))
        finally:
            os.close(fd)
    return f"{folder}/mount"


class _Empty:
    def read(self, _count: int, /) -> bytes:
        return b""


def cache_folder(mount: RunMount, target: str, folder: str, locks: list[Lock]) -> str:
    """The folder of a cache beneath `folder`, made if absent; locks that it takes are added to `locks`."""
    path = f"{folder}/{hashlib.sha256((mount.id or target).encode()).hexdigest()[:32]}"
    private_dir(folder)
    if mount.sharing == "locked":
        locks.append(Lock(f"{path}.lock"))
    elif mount.sharing == "private":
        path = _free(path, locks)
    with os_errors(f"make the folder {path}"):
        if not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, 0o755 if mount.mode < 0 else mount.mode)
            if mount.uid > 0 or mount.gid > 0:
                os.chown(path, max(mount.uid, 0), max(mount.gid, 0))
    return path


def _free(path: str, locks: list[Lock]) -> str:
    """The first of `path`, `path-1`… that nobody else uses."""
    number = 0
    while True:
        name = f"{path}-{number}" if number else path
        lock = Lock.attempt(f"{name}.lock")
        if lock is not None:
            locks.append(lock)
            return name
        number += 1
