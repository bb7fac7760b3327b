"""The folders of the builder: cache mounts and tables of files that were hashed before.

ROOT/build/cache/<hash>      a cache mount; who uses it holds <hash>.lock, shared or alone
ROOT/build/contexts/<hash>   a table, replaced as a whole: it may go at any time
ROOT/build/wheels/<sha256>   a package of Python as it was fetched, and <sha256>.metadata: may go at any time
"""

from __future__ import annotations

import marshal
import os

from ..ground.files import (
    Lock,
    disk_usage,
    os_errors,
    private_dir,
    random_name,
    remove_tree,
    trace,
    write_atomic,
)  # fmt: skip
from ..words.errors import StoreError
from ..words.light import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_MOUNTS = "build/cache"
_TABLES = "build/contexts"
_WHEELS = "build/wheels"
_ALWAYS = float("inf")


def mounts(root: str) -> str:
    """The folder of all cache mounts, made or not."""
    return f"{root}/{_MOUNTS}"


def mount(root: str, name: str) -> str:
    """The folder of one cache mount, made or not."""
    return f"{root}/{_MOUNTS}/{name}"


def tables(root: str) -> str:
    """The folder of all tables of files that were hashed, made or not."""
    return f"{root}/{_TABLES}"


def keep_newest(folder: str, name: str, data: bytes, *, kind: str, most: int) -> None:
    """Write a file beside the tables, and remove the oldest of those that begin with `kind` beyond `most`.

    A failure is none: what lies there may go at any time.
    """
    with suppress(StoreError, OSError):
        private_dir(folder)
        write_atomic(f"{folder}/{name}", data)
        paths = [f"{folder}/{other}" for other in os.listdir(folder) if other.startswith(kind)]
        if len(paths) > most:
            paths.sort(key=lambda path: os.stat(path).st_mtime_ns)
            for path in paths[:-most]:
                os.unlink(path)


def keep_rows(folder: str, name: str, rows: dict[Any, Any], *, kind: str, files: int, most: int) -> None:
    """As `keep_newest`, of `files` files: the last `most` rows of a table of plain values."""
    keep_newest(folder, name, marshal.dumps(list(rows.items())[-most:]), kind=kind, most=files)


def kept_rows(folder: str, name: str) -> dict[Any, Any]:
    """What `keep_rows` has written; nothing where that is gone or is no table."""
    try:
        with open(f"{folder}/{name}", "rb") as file:
            return dict(marshal.loads(file.read()))
    except (OSError, ValueError, EOFError, TypeError):
        return {}


def wheels(root: str) -> str:
    """The folder of all packages of Python that were fetched, made or not."""
    return f"{root}/{_WHEELS}"


def sizes(root: str) -> list[tuple[str, int]]:
    """(path, bytes of disk) of each."""
    paths = [
        f"{folder}/{name}" for folder in (mounts(root), tables(root), wheels(root)) for name in _names(folder)
    ]
    return [(path, disk_usage(path)) for path in paths if not path.endswith(".lock")]


def free(
    root: str, before: float = _ALWAYS, picked: frozenset[str] | None = None
) -> list[tuple[str, str, int]]:
    """Remove what no build uses now; (kind, name, bytes of disk) for each. Raises StoreError.

    `before` seconds since 1970: only what was last written to earlier. `picked`: only what has these names.
    """
    with os_errors(f"free the build cache of {root}"):
        mounts = [name for name in _mount_names(root) if picked is None or name in picked]
        files = [path for path in _files(root) if picked is None or os.path.basename(path) in picked]
        return [*_mounts(root, mounts, before), *_remove(files, before)]


def idle(root: str) -> list[str]:
    """The paths that `free` would remove."""
    mounts = [
        f"{root}/{_MOUNTS}/{name}" for name in _mount_names(root) if _unlocked(f"{root}/{_MOUNTS}/{name}")
    ]
    return mounts + _files(root)


def tidy(root: str) -> None:
    """Remove locks of cache mounts that are gone."""
    for name in _mount_names(root):
        if not os.path.lexists(f"{root}/{_MOUNTS}/{name}"):
            _unlocked(f"{root}/{_MOUNTS}/{name}")


def _mount_names(root: str) -> list[str]:
    return sorted({name.removesuffix(".lock") for name in _names(f"{root}/{_MOUNTS}")})


def _unlocked(path: str) -> bool:
    """Whether nobody uses a cache mount; its lock is made anew by whoever comes next."""
    lock = Lock.attempt(f"{path}.lock")
    if lock is not None:
        lock.release(remove=True)
    return lock is not None


def _mounts(root: str, names: Iterable[str], before: float) -> Iterator[tuple[str, str, int]]:
    folder = f"{root}/{_MOUNTS}"
    for name in names:
        lock = Lock.attempt(f"{folder}/{name}.lock")
        if lock is None:
            continue
        trash = f"{root}/trash/{random_name()}"
        try:
            if _older(f"{folder}/{name}", before):
                os.rename(f"{folder}/{name}", trash)
                trace("cache:renamed")
        finally:
            lock.release(remove=True)
        if os.path.lexists(trash):
            yield "cache", name, remove_tree(trash)


def _files(root: str) -> list[str]:
    """The paths of tables and packages, which may go at any time."""
    return [f"{root}/{folder}/{name}" for folder in (_TABLES, _WHEELS) for name in _names(f"{root}/{folder}")]


def _remove(paths: Iterable[str], before: float) -> Iterator[tuple[str, str, int]]:
    for path in paths:
        if _older(path, before):
            yield "cache", os.path.basename(path), remove_tree(path)


def _older(path: str, before: float) -> bool:
    try:
        return os.stat(path).st_mtime < before
    except FileNotFoundError:
        return False


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
