"""Named volumes: the folder ROOT/volumes/<name> each, kept until somebody removes it.

    volumes/<name>     what is in it, or empty where the volume is a folder of the host
    volumes/.<name>    its labels and the options of its driver, if it has any: a JSON object
    volumes/.<name>:filling    empty: somebody fills it in place, or has died of it
    volumes/.<name>:lock       while somebody fills it, or sees whether that is to be done

A volume is in use while a container has it among its mounts, running or not. Making and removing one hold a
lock (flock) on the folder of all, so that a description always belongs to the volume that is there.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager

from ..ground.files import Lock, os_errors, private_dir, random_name, remove_tree, trace, unlink, write_all
from ..ground.jsonfile import read_object
from ..ground.linux import AT_FDCWD, born
from ..words.errors import Conflict, NotFound
from ..words.quickjson import dumps, loads
from ..words.value import Value
from .events import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .store import Store

    Pairs = tuple[tuple[str, str], ...]

_ANONYMOUS = 64
_DRIVER = {"driver": "local"}
_LABEL = "com.docker.volume.anonymous"
"""docker's label of a volume whose name nobody chose."""


class Volume(Value):
    """One volume: `path` what is mounted, `created` seconds since 1970, `users` the ids of its containers.

    `labels` and `options`, those of its driver, are pairs.
    """

    name: str
    path: str
    created: float
    users: tuple[str, ...] = ()
    labels: Pairs = ()
    options: Pairs = ()

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


def make(root: str, name: str, labels: Pairs = (), options: Pairs = ()) -> str:
    """The folder of a volume, made if absent; open to all users of a container. Raises StoreError.

    One that is there keeps its labels and options.
    """
    path = place(root, name)
    if os.path.isdir(path):
        return path
    private_dir(f"{root}/volumes")
    with _locked(root), os_errors(f"create {path}"):
        if not os.path.isdir(path):
            _describe(root, name, labels, options)
            os.mkdir(path, 0o755)
            record(root, "volume", "create", name, _DRIVER)
    trace("volume:made")
    return path


def _describe(root: str, name: str, labels: Pairs, options: Pairs) -> None:
    """Before the folder is made, so that nobody sees half of it. A killed removal may have left one."""
    if labels or options:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_description(root, name), flags, 0o600)
        try:
            write_all(fd, dumps({"labels": dict(labels), "options": dict(options)}).encode())
        finally:
            os.close(fd)
        trace("volume:described")
    else:
        unlink(_description(root, name))


def _description(root: str, name: str) -> str:
    return f"{root}/volumes/.{name}"


@contextmanager
def _locked(root: str) -> Iterator[None]:
    fd = os.open(f"{root}/volumes", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def every(store: Store) -> list[Volume]:
    """All volumes by name."""
    folder = f"{store.root}/volumes"
    names = sorted(name for name in os.listdir(folder) if name[0] != ".") if os.path.isdir(folder) else []
    users = _users(store) if names else {}
    found = (_volume(store.root, name, users) for name in names)
    return [volume for volume in found if volume]


def find(store: Store, name: str) -> Volume:
    """The volume of this name. Raises NotFound."""
    volume = _volume(store.root, name, _users(store)) if name and name[0] != "." and "/" not in name else None
    if volume is None:
        raise NotFound(f"get {name}: no such volume")
    return volume


def exists(root: str, name: str) -> bool:
    """Whether there is a volume of this name."""
    return os.path.isdir(place(root, name))


def described(root: str, name: str) -> tuple[Pairs, Pairs]:
    """The labels of a volume that is there, and the options of its driver. Raises StoreError."""
    fields = read_object(_description(root, name))
    return _pairs(fields.get("labels")), _pairs(fields.get("options"))


def content(root: str, name: str, options: Pairs) -> str:
    """What is mounted of a volume whose driver has these options."""
    return dict(options).get("device") or place(root, name)


def _volume(root: str, name: str, users: Mapping[str, list[str]]) -> Volume | None:
    """None if it is gone meanwhile."""
    path = place(root, name)
    try:
        made = born(AT_FDCWD, os.fsencode(path)) / 1e9 or os.stat(path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    labels, options = described(root, name)
    volume = Volume(name, content(root, name, options), made, tuple(users.get(name, ())), labels, options)
    return volume.replace(labels=(*labels, (_LABEL, ""))) if volume.anonymous else volume


def _pairs(value: object) -> Pairs:
    return tuple((str(key), str(text)) for key, text in value.items()) if isinstance(value, dict) else ()


def remove(store: Store, name: str) -> int:
    """Remove a volume and what it holds: gone at once for everybody. Gives the bytes of disk freed.

    A folder of the host that it stands for stays. Raises NotFound, StoreError, and Conflict while a container
    has it.
    """
    trash = f"{store.root}/trash/{random_name()}"
    with store.db.transaction():
        volume = find(store, name)
        if volume.users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(volume.users)}]")
        with os_errors(f"remove volume {name}"), _locked(store.root):
            os.rename(place(store.root, name), trash)
            trace("volume:renamed")
            unlink(_description(store.root, name))
            unlink(_mark(store.root, name))
    record(store.root, "volume", "destroy", name, _DRIVER)
    return remove_tree(trash)


def _users(store: Store) -> dict[str, list[str]]:
    """The ids of containers by the names of their volumes."""
    found: dict[str, list[str]] = {}
    for row in store.containers.list():
        for name in names_in(store.root, loads(row.config_json)):
            found.setdefault(name, []).append(row.id)
    return found


def names_in(root: str, record: Mapping[str, Any]) -> dict[str, None]:
    """The volumes of a container, by what its row keeps. Earlier versions kept paths alone."""
    mounts = record.get("config", {}).get("mounts") or ()
    names = (mount.get("name") or named_by(root, mount.get("source") or "") for mount in mounts)
    return dict.fromkeys(name for name in names if name)


@contextmanager
def held(root: str, name: str) -> Iterator[None]:
    """No other process fills the volume meanwhile, or finds it before that is done. Raises StoreError."""
    with os_errors(f"lock the volume {name}"):
        lock = Lock(f"{root}/volumes/.{name}:lock")
    try:
        yield
    finally:
        lock.release(remove=True)


def mark_half_filled(root: str, name: str, *, half: bool = True) -> None:
    """Note that a volume is being filled where others see it, or that it is whole. Raises StoreError."""
    path = _mark(root, name)
    with os_errors(f"write {path}"):
        if half:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        else:
            unlink(path)


def is_half_filled(root: str, name: str) -> bool:
    """Whether whoever filled a volume was killed before it was whole."""
    return os.path.lexists(_mark(root, name))


def _mark(root: str, name: str) -> str:
    return f"{root}/volumes/.{name}:filling"
