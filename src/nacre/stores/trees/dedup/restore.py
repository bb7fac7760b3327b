"""The tar of a layer as it came, though parts of it lie in the tars of other layers."""

from __future__ import annotations

import io
import os
from bisect import bisect_right

from ....grammars.erofs.cuts import Cuts
from ....grammars.erofs.format import BLOCK
from ....words.errors import InvalidArchive, StoreError
from ..files import CUTS, TAR, lenders, open_locked
from .seekable import Seeking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_BUFFER = 1 << 18


def open_restored(folder: str) -> BinaryIO:
    """The tar of the layer in `folder`, of which parts were cut out; can seek; the caller closes it.

    Raises OSError, FileNotFoundError where nothing was cut, StoreError.
    """
    cuts = _read_cuts(folder)
    paths = [f"{folder}/{name}" for name in (TAR, *lenders(os.listdir(folder)))]
    return io.BufferedReader(_Restored(cuts, paths), _BUFFER)


def load_cuts(folder: str) -> Cuts | None:
    """What was left out of the tar in `folder`; None for nothing. Raises OSError, StoreError."""
    try:
        return _read_cuts(folder)
    except FileNotFoundError:
        return None


def _read_cuts(folder: str) -> Cuts:
    path = f"{folder}/{CUTS}"
    try:
        with open(path, "rb") as file:
            return Cuts.parse(file.read())
    except InvalidArchive as error:
        raise _damaged(error, path) from None


def _damaged(error: InvalidArchive, path: str) -> StoreError:
    return StoreError(f"{error.message} ({path})", hint="remove the image and pull it again")


class _Restored(Seeking):
    """Pieces of several files, one after the other. `starts` are their places in the whole, in blocks."""

    def __init__(self, cuts: Cuts, paths: list[str]) -> None:
        super().__init__(cuts.length)
        self._cuts = cuts
        self._fds: list[int] = []
        try:
            for path in paths:
                self._fds.append(open_locked(path))
            lengths = [os.fstat(fd).st_size for fd in self._fds]
            if lengths[0] != cuts.left:
                raise InvalidArchive("the list of cuts of a layer is damaged: it is of another tar")
            cuts.check(lengths)
        except BaseException as error:
            self.close()
            if isinstance(error, InvalidArchive):
                raise _damaged(error, os.path.dirname(paths[0])) from None
            raise
        self._starts, self._places = pieces_of(cuts)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        left = self._cuts.length - self._at
        if left <= 0:
            return 0
        number = bisect_right(self._starts, self._at // BLOCK) - 1
        start, (donor, block) = self._starts[number] * BLOCK, self._places[number]
        if number + 1 < len(self._starts):
            left = self._starts[number + 1] * BLOCK - self._at
        view = memoryview(buffer)[:left]
        count = os.preadv(self._fds[donor], [view], block * BLOCK + self._at - start)
        if view and not count:
            raise StoreError("a layer in the store is shorter than its list of cuts says")
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            for fd in self._fds:
                os.close(fd)
        super().close()


def pieces_of(cuts: Cuts) -> tuple[list[int], list[tuple[int, int]]]:
    """Where each piece begins in the whole, and (donor, block) where it lies; donor 0 is the tar itself."""
    starts, places = [], []
    at = own = 0
    for position, blocks, donor, block in cuts:
        if at < position:
            starts.append(at)
            places.append((0, own))
            own += position - at
        starts.append(position)
        places.append((donor, block))
        at = position + blocks
    return [*starts, at], [*places, (0, own)]
