"""Small content in memory: it never changes under its digest, and most requests are for the same few."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...stores.storage import Storage
    from ...words.digest import Digest
    from .work import Work

EACH = 256 << 10
"""Longest content that is kept, in bytes."""
_ALL = 32 << 20


class ContentCache:
    """What was read last of `storage`, at most 32 MiB. Of the event loop."""

    def __init__(self, storage: Storage, work: Work) -> None:
        self._storage, self._work = storage, work
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    def known(self, digest: Digest) -> bytes | None:
        """What is kept of that content, if it is; from any thread."""
        return self._kept.get(digest)

    async def read(self, digest: Digest) -> bytes:
        """Content of at most 4 MiB, verified. Raises NotFound, and DigestMismatch when it is damaged."""
        data = self._kept.get(digest)
        if data is not None:
            self._kept.move_to_end(digest)
            return data
        data = await self._work.run(self._storage.read, digest)
        if len(data) <= EACH and digest not in self._kept:
            self._kept[digest] = data
            self._size += len(data)
        while self._size > _ALL:
            self._size -= len(self._kept.popitem(last=False)[1])
        return data
