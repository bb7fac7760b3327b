"""Byte code out of the layer of an earlier version: a new version of a package has few new modules.

Byte code depends on the source, on the path and on who compiles, so it is taken only where all three are the
same; the sources are compared byte by byte. Which layer had a package last is kept in a file of the store,
which keeps no layer: where one is gone, all is compiled.
"""

from __future__ import annotations

from contextlib import ExitStack

from ....stores import caches
from ....words.digest import Digest
from ....words.errors import NacreError
from ..layers import Layers
from .bytecode import cached_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....stores.store import Store
    from .wheellayers import LaidWheel

_KIND = "wheels-"
_MOST = 10
"""Versions of Python that are remembered."""
_MOST_NAMES = 5000
_MOST_BYTES = 64 << 20
"""Bytes of a file that is looked at."""


class BytecodeCache:
    """What was compiled before by `code` for the Python `short`, as 3.12. `with` it."""

    def __init__(self, store: Store, short: str, code: str) -> None:
        self._store, self._tag = store, f"cpython-{short.replace('.', '')}"
        self._folder, self._file = caches.tables(store.root), f"{_KIND}{short}-{code}"
        self._open, self._stack = dict[str, Layers | None](), ExitStack()
        self._known: dict[str, str] = caches.kept_rows(self._folder, self._file)
        """The diff id of the layer that had a package last, by the name of the package."""

    def __enter__(self) -> BytecodeCache:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def of(self, wheel: LaidWheel, path: str, source: bytes) -> bytes:
        """The byte code of a module of the wheel, b"" where it is not there or the source was another."""
        layers = self._layers(self._known.get(_name(wheel), ""))
        item = layers.lookup(path[1:].encode()) if layers else None
        if layers is None or item is None or item.size != len(source):
            return b""
        if layers.read(item.path, _MOST_BYTES) != source:
            return b""
        return layers.read(cached_name(path, self._tag)[1:].encode(), _MOST_BYTES)

    def _layers(self, diff_id: str) -> Layers | None:
        if diff_id and diff_id not in self._open:
            try:
                layers = Layers(self._store, [Digest(diff_id)], "earlier wheels")
                self._open[diff_id] = self._stack.enter_context(layers)
            except NacreError:
                self._open[diff_id] = None
        return self._open.get(diff_id)

    def keep(self, made: Iterable[tuple[LaidWheel, Digest]]) -> None:
        """Remember in which layers these wheels are now."""
        new = {_name(wheel): str(diff_id) for wheel, diff_id in made}
        known = {name: diff_id for name, diff_id in self._known.items() if name not in new} | new
        caches.keep_rows(self._folder, self._file, known, kind=_KIND, files=_MOST, most=_MOST_NAMES)


def _name(wheel: LaidWheel) -> str:
    return wheel.name.partition("-")[0].lower()
