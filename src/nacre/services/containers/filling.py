"""Volumes for a container that is being made: each exists then, and an empty one gets what the image has.

Filled aside, in the container's folder, and renamed into place, so that a killed command leaves an empty
volume and no half of one. Where another container has the empty volume already, or it is a folder of the
host or a mount point, it is filled in place, as docker does; a mark says so, and who meets the mark fills it
once more. Whoever fills holds a lock beside the volume: on its folder every container could hold one.
Source: moby daemon/create_unix.go.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack

from ...ground.extract import Form
from ...ground.files import os_errors, remove_tree, surely, trace
from ...stores import volumes
from ...stores.trees.model import Mode
from . import copying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...images.model.runtime import VolumeMount
    from ...stores.containers import ContainerRow
    from ...stores.store import Store

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)


def prepare(store: Store, row: ContainerRow, wanted: tuple[VolumeMount, ...]) -> None:
    """Make and fill them; the row of the container names them already. Raises StoreError."""
    with ExitStack() as opened:
        roots: list[copying.Inside] = []

        def root() -> copying.Inside:
            if not roots:
                roots.append(opened.enter_context(copying.image_root(store, row)))
            return roots[0]

        for volume in wanted:
            if volume.name:
                _prepare(store, row, volume, root)
            if volume.chown or volume.relabel:
                from . import ownership

                ownership.apply(row, volume, root)


def _prepare(
    store: Store, row: ContainerRow, volume: VolumeMount, root: Callable[[], copying.Inside]
) -> None:
    folder = volumes.make(store.root, volume.name, volume.labels, volume.driver_options)
    with volumes.held(store.root, volume.name):
        half = volumes.is_half_filled(store.root, volume.name)
        if not half and not (volume.copy and not _content(volume.source)):
            return
        replaceable = (
            volume.source == folder
            and not os.path.ismount(folder)
            and volumes.find(store, volume.name).users == (row.id,)
        )
        if half and replaceable:
            _clear(folder)
        if volume.copy:
            _fill(store, row, volume, root(), replaceable=replaceable)
        elif replaceable:
            volumes.mark_half_filled(store.root, volume.name, half=False)


def _content(folder: str) -> list[str]:
    with os_errors(f"look into {folder}"):
        return os.listdir(folder)


def _clear(folder: str) -> None:
    for name in _content(folder):
        remove_tree(f"{folder}/{name}")


def _fill(
    store: Store, row: ContainerRow, volume: VolumeMount, root: copying.Inside, *, replaceable: bool
) -> None:
    """`replaceable`: the folder may be another one afterwards; nobody has it mounted, and it is empty."""
    source = _folder(root, volume.target)
    if source and replaceable:
        _replace(source, volume.source, store.containers.file(row.id, "filling"))
    elif source:
        volumes.mark_half_filled(store.root, volume.name)
        trace("volume:filling")
        _copy(source, volume.source)
    if source or replaceable:
        volumes.mark_half_filled(store.root, volume.name, half=False)


def _replace(source: copying.ResolvedSource, folder: str, aside: str) -> None:
    """A copy of the source takes the place of an empty folder, unless somebody has filled that meanwhile."""
    with os_errors(f"fill {folder}"):
        os.mkdir(aside, 0o755)
        try:
            _copy(source, aside)
            trace("volume:filled")
            os.rename(aside, folder)
        except BaseException as error:
            surely(remove_tree, aside)
            if not isinstance(error, OSError) or error.errno not in _TAKEN:
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
