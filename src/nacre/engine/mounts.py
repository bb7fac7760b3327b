"""The files of containers and images, mounted where every program sees them."""

from __future__ import annotations

import os

from ..stores import mounted
from ..stores.layout import mount_point
from ..words.errors import Conflict, NotFound, Unsupported
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..stores.containers import ContainerRow
    from ..stores.store import Store
    from .wiring import Wiring

    Mounteds = list["MountPoint"]


class MountPoint(Value):
    """A container or an image that is mounted at `path`. `id` is short; `name` is one for `unmount`."""

    name: str
    id: str
    path: str


class Mounts:
    """What is mounted of an engine's store. All raise Unsupported where nobody else would see a mount."""

    def __init__(self, engine: Wiring) -> None:
        self._engine = engine

    def mount(self, name: str) -> str:
        """Where the files of a container or an image are, mounted if need be. Raises NotFound.

        A container is writable there. Where nothing can be mounted it may have its files in a folder already.
        """
        engine = self._engine
        folder = engine.inside(lambda store: _folder(store, name))
        if folder:
            return folder
        self.check("mount")
        return engine.apart(lambda: _mount(engine.store, engine.root, name))

    def list(self) -> Mounteds:
        """All mounts of the store."""
        self.check("mount")
        root = self._engine.root
        return [
            MountPoint(key, key.removeprefix(mounted.IMAGE)[:12], mount_point(root, key))
            for key in mounted.every(root)
        ]

    def unmount(self, name: str, *, force: bool = False) -> None:
        """Unmount a container or an image, also while in use with `force`. Raises NotFound, Conflict."""
        self.check("unmount")
        root = self._engine.root

        def work(store: Store) -> bool:
            key = name if name in mounted.every(root) else _key(store, name)
            return mounted.release(root, key, force=force)

        if not self._engine.inside(work):
            raise NotFound(f"{name} is not mounted")

    def check(self, verb: str) -> None:
        """Raises Unsupported where nothing can be mounted that others would see."""
        if self._engine.shows_mounts:
            return
        if self._engine.is_root:
            raise Unsupported("mounts are not permitted here", hint="use `nacre export` or `nacre cp`")
        raise Unsupported(
            f'cannot run command "nacre {verb}" in rootless mode',
            hint="mounts of an ordinary user are visible only inside a user namespace: "
            "run it in `nacre unshare`",
        )


def _row(store: Store, name: str) -> ContainerRow | None:
    from ..services.containers.listing import ContainerListing

    try:
        return ContainerListing(store).get(name)
    except NotFound:
        return None


def _key(store: Store, name: str) -> str:
    """Of a container, else of an image. Raises NotFound."""
    from ..images.model.image import find

    row = _row(store, name)
    if row is not None:
        return row.id
    try:
        return mounted.image_key(find(store, name).digest)
    except NotFound:
        raise NotFound(f"No such container or image: {name}") from None


def _folder(store: Store, name: str) -> str:
    """The root of a container that is a folder already, where nothing can be mounted; else ""."""
    from ..words.mount import Directory

    row = _row(store, name)
    active = store.actives.find(row.id) if row is not None else None
    return active.mount.path if active is not None and isinstance(active.mount, Directory) else ""


def _mount(store: Store, root: str, name: str) -> str:
    from ..images.model.image import find

    key = _key(store, name)
    if mounted.is_mounted(root, key):
        return mount_point(root, key)
    row = _row(store, name)
    if row is None:
        with store.leases.hold():  # until the sweep sees it mounted
            return mounted.show(root, key, find(store, name).view())
    if row.state != "running":
        return _stopped(store, root, row)
    from ..services.containers.copying import borrowed

    fd = borrowed(row)
    try:
        return mounted.show(root, key, fd)
    finally:
        os.close(fd)


def _stopped(store: Store, root: str, row: ContainerRow) -> str:
    from ..services.containers.copying import idle

    active = store.actives.find(row.id)
    if active is None:
        raise Conflict(f"the file system of container {row.name} is missing")
    with idle(store, row, True):
        return mounted.show(root, row.id, active.mount)
