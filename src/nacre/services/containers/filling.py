"""Volumes for a container that is being made: each exists then, and an empty one gets what the image has.

Filled aside, in the container's folder, and renamed into place, so that a killed command leaves an empty
volume and no half of one. Where another container has the empty volume already it is filled in place, as
docker does. Whoever fills holds a lock on the volume's folder (flock). Source: moby daemon/create_unix.go.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import ExitStack, contextmanager

from ...ground.extract import Form
from ...ground.files import os_errors, remove_tree, surely, trace
from ...stores import volumes
from ...stores.trees import Mode
from . import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...images.model.runtime import VolumeMount
    from ...stores.containers import ContainerRow
    from ...stores.store import Store

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(store: Store, row: ContainerRow, wanted: tuple[VolumeMount, ...]) -> None:
    """Make and fill them; the row of the container names them already. Raises StoreError."""
    with ExitStack() as opened:
        root: copying.Inside | None = None
        for volume in wanted:
            volumes.make(store.root, volume.name)
            if not volume.copy:
                continue
            with _held(volume.source) as empty:
                if empty:
                    root = root or opened.enter_context(copying.image_root(store, row))
                    _fill(store, row, volume, root)


@contextmanager
def _held(path: str) -> Iterator[bool]:
    """Lock a volume's folder; whether it is empty."""
    while True:
        with os_errors(f"open {path}"):
            fd = os.open(path, _FOLDER)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                yield not os.listdir(fd)
                return
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child that was forked meanwhile has it open as well
            os.close(fd)


def _fill(store: Store, row: ContainerRow, volume: VolumeMount, root: copying.Inside) -> None:
    source = _folder(root, volume.target)
    if source is None:
        return
    if volumes.find(store, volume.name).users != (row.id,):
        _copy(source, volume.source)
        return
    aside = store.containers.file(row.id, "filling")
    with os_errors(f"fill the volume {volume.name}"):
        os.mkdir(aside, 0o755)
        try:
            _copy(source, aside)
            trace("volume:filled")
            os.rename(aside, volume.source)
        except BaseException:
            surely(remove_tree, aside)
            raise


def _folder(root: copying.Inside, target: str) -> copying.ResolvedSource | None:
    """What the image has at a mount's target, if that is a folder."""
    try:
        fd = root.open(os.fsencode(target), os.O_PATH)
    except OSError:
        return None
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return copying.ResolvedSource(fd, b"", True, True)


def _copy(source: copying.ResolvedSource, folder: str) -> None:
    """Everything with modes, owners, times, attributes and links, the folder's own included."""
    mode = Mode.detect()
    form = Form(whiteouts="none", owners=not mode.single, devices=mode.devices)
    fd = os.open(folder, _FOLDER)
    try:
        copying.write(
            copying.members(source, b""), copying.ResolvedTarget(fd, b"", False), owners="keep", form=form
        )
    except BaseException:
        for name in os.listdir(fd):
            surely(remove_tree, f"{folder}/{name}")
        raise
    finally:
        os.close(fd)


def discard(store: Store, names: tuple[str, ...]) -> None:
    """Remove anonymous volumes of a container that is gone; one that another container has stays."""
    from ...words.errors import Conflict, NotFound

    for name in names:
        try:
            volumes.remove(store, name)
        except (Conflict, NotFound):
            continue
