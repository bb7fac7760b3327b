"""What was looked at of this machine for `host:python3`, so that an unchanged machine is not looked at again.

The key of the image is kept beside the stamps of all files that go in, of their folders, and of the folders
in which something would have counted more: what is added, removed, replaced or changed moves one of these.
"""

from __future__ import annotations

import marshal
import os
import time

from ...stores import caches
from ...words.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ...stores.store import Store

    Stamp = tuple[int, ...] | None

_KIND = "host-"
_TICK_NS = 20_000_000
"""How far apart two changes may be that bear the same time."""
_MOST = 10
"""Interpreters that are remembered."""


class HostKey:
    """The memory of one store for one interpreter; `form` is what else the key depends on."""

    def __init__(self, store: Store, form: object) -> None:
        self._begun = time.time_ns()
        self._folder = caches.tables(store.root)
        name = sha256(repr((form, os.geteuid())).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._name = f"{_KIND}{name}"

    def key(self) -> str:
        """The key that was kept, if nothing has changed since; "" otherwise."""
        try:
            with open(f"{self._folder}/{self._name}", "rb") as file:
                key, stamps = marshal.loads(file.read())
            return str(key) if all(_stamp(path) == stamp for path, stamp in stamps) else ""
        except (OSError, ValueError, EOFError, TypeError):
            return ""

    def keep(self, key: str, paths: Iterable[str]) -> None:
        """Remember the key for these files and folders as they are now, unless they have just changed."""
        stamps = [(path, _stamp(path)) for path in sorted(set(paths))]
        if any(stamp and stamp[4] > self._begun - _TICK_NS for _, stamp in stamps):
            return
        data = marshal.dumps((key, stamps))
        caches.keep_newest(self._folder, self._name, data, kind=_KIND, most=_MOST)


def _stamp(path: str, stat: Callable[[str], os.stat_result] = os.stat) -> Stamp:
    try:  # hundreds of times for each image of this machine
        found = stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
