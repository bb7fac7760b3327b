"""Remove a store: everything in its folder that nacre made, and the folder if nothing else is in it.

Works on a store whose database is damaged, since it opens none. After a kill half-way it is still told from
other folders and can be done again: what marks it as a store goes last.
"""

from __future__ import annotations

import os

from ..ground.files import Lock, os_errors, remove_tree, trace
from ..words.errors import Conflict, NotFound, StoreError
from . import mounted
from .paths import BESIDE, REGISTRY, Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDERS = (
    "containers", "active", "mounted", "shared", "trees", "blobs", "ingest", "volumes", "networks", "build",
    "events", REGISTRY, *BESIDE, "trash",
)  # fmt: skip
_FILES = ("reserve", "hints", "index.json", "index.lock", "index.json.damaged", "sweep.lock")
_LAST = ("nacre.db", "leases", "oci-layout")
_LEFT = ("nacre.db", ".index.json.", ".oci-layout.", ".removing.")
"""Beginnings of names: the database with all that belongs to it, and what a kill leaves."""


def reset(root: str, end: Callable[[str], object]) -> tuple[int, list[str]]:
    """Remove the store `root`; bytes of disk that came back, and paths that are not nacre's and stay.

    `end` ends the container that has a folder, if it runs. Raises NotFound, StoreError for a folder that is
    no store, Conflict while another process works in it.
    """
    check(root)
    with os_errors(f"remove the store {root}"), Lock(f"{root}/sweep.lock"):
        for name in _names(f"{root}/containers"):
            end(f"{root}/containers/{name}")
        for key in mounted.every(root):
            mounted.release(root, key, force=True)
        freed = sum(remove_tree(f"{root}/{name}") for name in (*_FOLDERS, *_FILES))
        trace("reset:emptied")
        ours = [name for name in _names(root) if name.startswith(_LEFT)]
        freed += sum(remove_tree(f"{root}/{name}") for name in (*sorted(ours, reverse=True), *_LAST))
        left = _names(root)
        if not left:
            _remove_folder(root)
    return freed, [f"{root}/{name}" for name in left]


def check(root: str) -> None:
    """Whether it is a store that nobody works in. Raises as `reset`."""
    if not os.path.isdir(root):
        raise NotFound(f"there is no store at {root}")
    with os_errors(f"look at {root}"):
        _check_store(root)
        _check_idle(root)


def _check_store(root: str) -> None:
    if os.stat(root).st_uid != os.geteuid():
        raise StoreError(f"the store {root} belongs to user id {os.stat(root).st_uid}, not to {os.geteuid()}")
    if not os.path.isfile(f"{root}/oci-layout") or not os.path.isdir(f"{root}/leases"):
        raise StoreError(
            f"{root} is not a store", hint="nothing was removed; 'nacre info' shows where the store is"
        )
    if any(os.path.exists(f"{root}/{name}") for name in ("registry.db", "registry.database")):
        raise StoreError(f"{root} holds a registry, not a store", hint="nothing was removed")


def _check_idle(root: str) -> None:
    busy = sum(_is_locked(f"{root}/leases/{name}") for name in _names(f"{root}/leases"))
    if busy:
        raise Conflict(
            f"the store {root} is in use by {busy} other command{'s' if busy > 1 else ''}",
            hint="wait for running pulls, builds and other commands, or end them",
        )
    registry = Paths(root).registry
    if _is_locked(f"{registry}/registry.lock"):
        raise Conflict(f"the registry in {registry} is served by another process")


def _is_locked(path: str) -> bool:
    if not os.path.exists(path):
        return False
    lock = Lock.attempt(path)
    if lock is not None:
        lock.release()
    return lock is None


def _remove_folder(root: str) -> None:
    """It may be the root of a file system, or in a folder of somebody else: then it stays, empty."""
    try:
        os.rmdir(root)
    except OSError:
        return


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
