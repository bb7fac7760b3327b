"""Digests of layers on their way, taken in a thread of their own.

OpenSSL lets go of the interpreter lock while it hashes, so the digest of a layer costs its reader or
writer next to nothing as long as there is a processor for it. With more layers under way than processors
there is none: receiving, decompressing and laying them out keep all busy, and handing over only costs.
"""

from __future__ import annotations

from hashlib import sha256

from ...words.digest import Digest, take
from .pipe import Pipe, copy
from .threads import SpareWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ...grammars.tar.entry import Reader
    from .budget import Budget

_CHUNK = 1 << 18
_LATER = 16
"""Pieces before which no thread begins: what helps more than this begins before."""


class _Hash:
    """A SHA-256 that is fed from one thread and computed in another. `with` it: that one ends there."""

    def __init__(self, budget: Budget) -> None:
        self._hash, self._budget, self._pipe = sha256(), budget, Pipe()
        self._worker = SpareWorker(self._run, budget, _LATER, drains=self._pipe)

    def _run(self) -> None:
        copy(self._pipe, lambda piece: take(self._hash, piece), 1 << 30)

    def update(self, data: bytes) -> None:
        """The next bytes; waits when too many wait already."""
        if not self._worker.at_work():
            take(self._hash, data)
        else:
            self._pipe.write(data)

    def digest(self) -> Digest:
        """The digest of everything so far, after which there is no more."""
        self._pipe.end()
        self._worker.finish()
        return Digest("sha256:" + self._hash.hexdigest())

    def __enter__(self) -> Self:
        self._budget.begin_thread()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._budget.end_thread()
        self._pipe.end()
        self._worker.stop()


class HashingReader:
    """Hashes what passes. `with` it: the thread ends there."""

    def __init__(self, stream: Reader, budget: Budget) -> None:
        self._stream, self._hash = stream, _Hash(budget)
        self.digest = self._hash.digest

    def read(self, count: int = -1, /) -> bytes:
        """The next bytes of the stream; a negative count means as many as come at once."""
        data = self._stream.read(_CHUNK if count < 0 else count)
        self._hash.update(data)
        return data

    def drain(self) -> None:
        """To the end of the stream, past the end marker of a tar: those bytes count for its digest too."""
        while self.read(_CHUNK):
            pass

    def __enter__(self) -> Self:
        self._hash.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._hash.__exit__()


class HashingWriter:
    """Hashes what is written and hands it on, small pieces together. `with` it: the thread ends there."""

    def __init__(self, write: Callable[[bytes], object], budget: Budget) -> None:
        self._write, self._hash = write, _Hash(budget)
        self._pieces: list[bytes] = []
        self._held = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if data:
            self._hash.update(data)
            self._write(data)

    def digest(self) -> Digest:
        """Of all that was written, which has been handed on when this returns."""
        self._flush()
        return self._hash.digest()

    def __enter__(self) -> Self:
        self._hash.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._hash.__exit__()
