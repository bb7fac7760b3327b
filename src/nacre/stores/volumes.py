"""Named volumes: the folder ROOT/volumes/<name> each, kept until somebody removes it.

A volume is in use while a container has it among its mounts, running or not.
"""

from __future__ import annotations

import json
import os

from ..ground.files import os_errors, private_dir, random_name, remove_tree, trace
from ..words.errors import Conflict, NotFound
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .store import Store

_ANONYMOUS = 64


class Volume(Value):
    """One volume: `path` its folder, `created` seconds since 1970, `users` the ids of its containers."""

    name: str
    path: str
    created: float
    users: tuple[str, ...] = ()

    @property
    def anonymous(self) -> bool:
        """Whether its name was not chosen by anybody: 64 hexadecimal digits, as docker makes them."""
        return len(self.name) == _ANONYMOUS and set(self.name) <= set("0123456789abcdef")


def place(root: str, name: str) -> str:
    """Where the folder of a volume is, made or not."""
    return f"{root}/volumes/{name}"


def named_by(root: str, path: str) -> str:
    """The name of the volume whose folder is `path`; "" for any other path."""
    folder, _, name = path.rpartition("/")
    return name if folder == f"{root}/volumes" else ""


def make(root: str, name: str) -> str:
    """The folder of a volume, made if absent; open to all users of a container. Raises StoreError."""
    path = place(root, name)
    if not os.path.isdir(path):
        private_dir(f"{root}/volumes")
        with os_errors(f"create {path}"):
            os.makedirs(path, 0o755, exist_ok=True)
        trace("volume:made")
    return path


def every(store: Store) -> list[Volume]:
    """All volumes by name."""
    folder = f"{store.root}/volumes"
    users = _users(store)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [
        Volume(name, path, made, tuple(users.get(path, ())))
        for name, path in ((name, place(store.root, name)) for name in names)
        if (made := _made(path)) is not None
    ]


def _made(path: str) -> float | None:
    """When; None if it is gone meanwhile."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return None


def find(store: Store, name: str) -> Volume:
    """The volume of this name. Raises NotFound."""
    for volume in every(store):
        if volume.name == name:
            return volume
    raise NotFound(f"get {name}: no such volume")


def remove(store: Store, name: str) -> int:
    """Remove a volume and what it holds: gone at once for everybody. Gives the bytes of disk freed.

    Raises NotFound, StoreError, and Conflict while a container has it.
    """
    trash = f"{store.root}/trash/{random_name()}"
    with store.db.transaction():
        volume = find(store, name)
        if volume.users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(volume.users)}]")
        with os_errors(f"remove volume {name}"):
            os.rename(volume.path, trash)
            trace("volume:renamed")
    return remove_tree(trash)


def _users(store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in store.containers.list():
        for source in json.loads(row.config_json).get("volumes", ()):
            found.setdefault(source, []).append(row.id)
    return found
