"""The tar of a lazy layer while its content comes: piece by piece, or all of it in one stream.

    piece ──unpacked, verified by its digest──────────────► into its hole
    blob ──unpacked, hashed for the diff id───────────────► into the holes that are left
    headers, pieces that are here ──hashed as they stand

A piece is hashed for its own digest, and in the end the tar is read and hashed once more for its diff id; as
a stream every byte is hashed once. What has passed but is not proven yet counts as a hole: a piece of it that
somebody needs sooner is verified by its own digest. A blob that can be unpacked from its beginning alone
passes whole, and what stands is compared with that.
"""

from __future__ import annotations

import os
from hashlib import sha256
from threading import Lock

from ...grammars.codecs.stream import decompress
from ...ground.files import trace, write_at
from ...ground.work.readahead import ReadAhead
from ...words.digest import Digest
from ...words.errors import DigestMismatch, InvalidArchive
from .pieces import arriving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from .lazy import LazyLayer

    Fetch = Callable[[int, int], AbstractContextManager[Reader]]

_RECEIVED, _BLOCK = 1 << 20, 1 << 20
_SOON, _LATER = 4, 16
"""Pieces after which a thread of its own may begin, as for a layer that comes whole (`ingest`)."""
_NEAR = 1 << 20
"""Bytes of the blob that pass once more rather than be asked around."""
_DIFFERS = "a layer is not what its table of contents says"
_READ = 1 << 14
"""Bytes that are read at once of what stands: headers of small files lie close together."""


class LazyTar:
    """Of one layer, in the process that fills it. Safe for threads, of which one streams."""

    def __init__(self, layer: LazyLayer) -> None:
        self._extents, self._fd, self._diff_id = layer.extents, layer.tree.tar, layer.tree.diff_id
        self._lock, self._digest = Lock(), sha256()
        self._verified = bytearray(layer.extents.here[:])
        self._passed = 0
        self.is_proven = False
        """Whether all of it is what its diff id says."""

    @property
    def bytes_here(self) -> int:
        """Bytes of content that have come."""
        return self._extents.bytes_here(self._passed)

    def put(self, number: int, packed: memoryview) -> bool:
        """Write a piece, if it is what it has to be; False where another fetch has brought it.

        Raises InvalidArchive, OSError.
        """
        if self._verified[number]:
            return False
        plain = self._extents.unpack(number, packed)
        with self._lock:  # else what passes could be written over it
            if self._verified[number]:
                return False
            self._extents.write(self._fd, number, plain)
            self._verified[number] = 1
        return True

    def verify(self, numbers: Sequence[int]) -> list[int]:
        """Those of the pieces that have passed, and are what they have to be. Raises OSError."""
        return [number for number in numbers if self._is_verified(number)]

    def _is_verified(self, number: int) -> bool:
        at, size = self._extents.at[number], self._extents.size[number]
        if not self._verified[number] and at + size <= self._passed:
            try:
                self._extents.verified(number, os.pread(self._fd, size, at))
            except InvalidArchive:
                return False
            self._verified[number] = 1
        return bool(self._verified[number])

    def stream(self, fetch: Fetch, budget: Budget, wanted: Callable[[], bool]) -> None:
        """Take all that is missing, until it is not `wanted` any more; `fetch` gives a range of the blob.

        Raises DigestMismatch, InvalidArchive, RegistryError, OSError where it is not to be had so: then all
        that is not verified is as good as a hole.
        """
        try:
            self._stream(fetch, budget, wanted)
        except BaseException:
            self._passed = 0
            raise

    def _stream(self, fetch: Fetch, budget: Budget, wanted: Callable[[], bool]) -> None:
        extents, self._passed, self._digest, number = self._extents, 0, sha256(), 0
        while wanted() and (number := self._verified.find(b"\0", number)) >= 0:
            first, last = extents.run(number, self._verified, _NEAR)
            self._pass_standing(extents.at[first])
            with fetch(extents.start[first], extents.end[last]) as blob:
                if extents.has_borders:
                    self._take_pieces(blob, range(first, last + 1), wanted)
                else:
                    self._take(blob, extents.at[last] + extents.size[last], budget, wanted)
            number = last + 1
        if wanted():
            self._pass_standing(os.fstat(self._fd).st_size)
            self._prove(Digest(f"sha256:{self._digest.hexdigest()}"))

    def _take_pieces(self, blob: Reader, numbers: range, wanted: Callable[[], bool]) -> None:
        """Each is unpacked by itself, which is quicker than one stream of small frames; headers are here."""
        for pieces in arriving(blob, self._extents, numbers, _RECEIVED):
            if not wanted():
                return
            for number, packed in pieces:
                if not self._verified[number]:
                    self._pass_piece(number, self._extents.plain(number, packed))
            trace("lazy:passed")

    def _pass_piece(self, number: int, plain: bytes) -> None:
        at = self._extents.at[number]
        self._pass_standing(at)
        with self._lock:
            if self._verified[number]:  # what stands is hashed with what follows it
                return
            self._extents.write(self._fd, number, plain)
            self._passed = at + len(plain)
        self._digest.update(plain)

    def _take(self, blob: Reader, end: int, budget: Budget, wanted: Callable[[], bool]) -> None:
        with (
            ReadAhead(blob, _RECEIVED, budget, _LATER) as received,
            ReadAhead(decompress(received, self._extents.codec), _BLOCK, budget, _SOON) as plain,
        ):
            while wanted() and (data := plain.read(min(_BLOCK, end - self._passed))):
                self._pass(data)
                trace("lazy:passed")
        if wanted() and self._passed != end:
            raise InvalidArchive(_DIFFERS)

    def _pass_standing(self, end: int) -> None:
        """What is no hole up to there."""
        while self._passed < end:
            data = os.pread(self._fd, min(_BLOCK, end - self._passed), self._passed)
            if not data:  # it was cut to nothing
                raise InvalidArchive(_DIFFERS)
            self._digest.update(data)
            self._passed += len(data)

    def _prove(self, actual: Digest) -> None:
        if actual != self._diff_id:
            raise DigestMismatch(self._diff_id, actual, what="layer")
        self.is_proven = True

    def _pass(self, data: bytes) -> None:
        self._digest.update(data)
        at = self._passed
        with self._lock:
            if not self._agrees(data, at):
                raise InvalidArchive(_DIFFERS)
            write_at(self._fd, data, at)
            self._passed = at + len(data)

    def _agrees(self, data: bytes, at: int) -> bool:
        """Whether the next bytes are those that stand already, where no hole is left."""
        held, base, end, place = b"", at, at + len(data), at
        for begin, stop in (*self._extents.holes(at, end, self._verified), (end, end)):
            if place < begin:
                if begin > base + len(held):
                    held, base = os.pread(self._fd, max(begin - place, _READ), place), place
                if held[place - base : begin - base] != data[place - at : begin - at]:
                    return False
            place = stop
        return True
