"""Whole roots that one step of a build leaves to the next, where nothing can be mounted.

Laying out an image copies it, so what a step has committed is kept as it stands until the build ends: the
next step takes it over, and only layers that came between are applied to it. Each is an active of its own
under a lease, so whatever a killed build leaves is swept like any other.
"""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....words.digest import Digest


class Roots:
    """Keys of actives by the layers that they hold. Any thread may put and take; a root is taken once."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._keys: dict[tuple[Digest, ...], str] = {}

    def put(self, layers: Sequence[Digest], key: str) -> str:
        """Keep one; gives the key of another that held the same, "" if none did."""
        with self._lock:
            before = self._keys.pop(tuple(layers), "")
            self._keys[tuple(layers)] = key
            return before

    def take(self, layers: Sequence[Digest]) -> tuple[int, str]:
        """The root that holds the most of the lowest `layers`: how many, and its key; (0, "") for none."""
        with self._lock:
            for count in range(len(layers), 0, -1):
                key = self._keys.pop(tuple(layers[:count]), "")
                if key:
                    return count, key
        return 0, ""

    def all(self) -> dict[tuple[Digest, ...], str]:
        """The keys of all, which stay here."""
        with self._lock:
            return dict(self._keys)

    def take_all(self) -> list[str]:
        """The keys of all, which are no longer kept here."""
        with self._lock:
            keys = list(self._keys.values())
            self._keys.clear()
            return keys
