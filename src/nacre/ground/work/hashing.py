"""Digests of layers on their way, taken in a thread of their own.

OpenSSL lets go of the interpreter lock while it hashes, so the digest of a layer costs its reader or
writer next to nothing as long as there is a processor for it. With more layers under way than processors
there is none: receiving, decompressing and laying them out keep all busy, and handing over only costs.
"""

from __future__ import annotations

from hashlib import sha256
from queue import Queue
from threading import Thread

from ...words.digest import Digest, take
from .budget import LAYERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from ...grammars.tar.entry import Reader

    Write = Callable[[bytes], object]

_CHUNK = 1 << 18
_WAITING = 16
"""Pieces that may wait for the hash: 4 MiB."""
_SETTLED = 16


class _Hash:
    """A SHA-256 that is fed from one thread and computed in another. `with` it: that one ends there."""

    def __init__(self) -> None:
        self._hash = sha256()
        self._queue: Queue[bytes] = Queue(_WAITING)
        self._thread = Thread(target=self._run, name="nacre-hash", daemon=True)
        self._running, self._before = False, _SETTLED

    def _run(self) -> None:
        while piece := self._queue.get():
            take(self._hash, piece)

    def update(self, data: bytes) -> None:
        """The next bytes; waits when too many wait already."""
        if not self._running and not self._starts():
            take(self._hash, data)
        elif data:
            self._queue.put(data)

    def _starts(self) -> bool:
        """Not at once: what helps more than this begins before."""
        self._before -= 1
        if self._before >= 0 or not LAYERS.is_thin:
            return False
        self._running = True
        LAYERS.join()
        self._thread.start()
        return True

    def _stop(self) -> None:
        if self._running:
            self._running = False
            LAYERS.leave()
            self._queue.put(b"")
            self._thread.join()

    def digest(self) -> Digest:
        """The digest of everything so far, after which there is no more."""
        self._stop()
        return Digest("sha256:" + self._hash.hexdigest())

    def __enter__(self) -> Self:
        LAYERS.join()
        return self

    def __exit__(self, *_exc: object) -> None:
        LAYERS.leave()
        self._stop()


class HashingReader:
    """Hashes what passes. `with` it: the thread ends there."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._hash = stream, _Hash()
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

    def __enter__(self) -> HashingReader:
        self._hash.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._hash.__exit__()


class HashingWriter:
    """Hashes what is written and hands it on, small pieces together. `with` it: the thread ends there."""

    def __init__(self, write: Write) -> None:
        self._write, self._hash = write, _Hash()
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

    def __enter__(self) -> HashingWriter:
        self._hash.__enter__()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._hash.__exit__()
