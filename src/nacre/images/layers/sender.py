"""Sends blobs to a sink, each in the cheapest way, and counts what became of them."""

from __future__ import annotations

from threading import Lock

from ...ground.work.pipe import Stopped
from ...words.progress import NullProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import Event
    from typing import Self

    from ...words.digest import Digest
    from ...words.oci import Descriptor, Manifest
    from ...words.progress import Progress, Task
    from ..model.source import Content, Sink

SILENT = NullProgress().task("")


def distinct(descriptors: Iterable[Descriptor]) -> list[tuple[Digest, int]]:
    """Digests and sizes, each digest once: an image may hold a layer twice."""
    return list({d.digest: d.size for d in descriptors}.items())


def task_of(progress: Progress, digest: Digest, phase: str) -> Task:
    """A line of progress for a blob."""
    task = progress.task(digest.short)
    task.phase(phase)
    return task


class TransferTotals:
    """Sums of bytes by what became of them, from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[str, int] = {}

    def add(self, kind: str, count: int) -> None:
        """`count` more bytes of a kind."""
        with self._lock:
            self._sums[kind] = self._sums.get(kind, 0) + count

    def __getitem__(self, kind: str) -> int:
        return self._sums.get(kind, 0)


class BlobSender:
    """Sends blobs to one sink; `tally` has bytes existing, mounted, moved. Safe for threads.

    A subclass says where content comes from (`opened`), what may be mounted, and what is to be learnt.
    """

    words = ("Pushing", "Pushed", "Layer already exists")

    def __init__(self, sink: Sink) -> None:
        self.sink, self.tally = sink, TransferTotals()

    def opened(self, blob: Descriptor) -> Content:
        """The content from its beginning. Raises NotFound, RegistryError, ContentError."""
        raise NotImplementedError

    def mount(self, blob: Descriptor) -> str | None:
        """The repository that the sink took it over from, if any."""
        raise NotImplementedError

    def learn(self, digest: Digest) -> None:
        """Now the sink has it."""

    def send(self, blob: Descriptor, task: Task, stop: Event | None = None) -> None:
        """Make sure that the sink has `blob`, by the cheapest way."""
        self.tally.add(self.sent(blob, task, stop), blob.size)

    def sent(self, blob: Descriptor, task: Task, stop: Event | None = None) -> str:
        """The same, and what is to be added to the tally."""
        if stop is not None and stop.is_set():
            raise Stopped("the transfer was stopped")
        if self.sink.has(blob):
            kind, status = "existing", self.words[2]
        elif origin := self.mount(blob):
            kind, status = "mounted", f"Mounted from {origin.partition('/')[2]}"
        else:
            self.upload(blob, task, stop)
            kind, status = "moved", self.words[1]
        self.learn(blob.digest)
        task.done(status)
        return kind

    def leave(self, manifest: Manifest, tasks: Mapping[Digest, Task]) -> None:
        """The sink has this very manifest under this name, so it has all its parts."""
        for digest, size in distinct((manifest.config, *manifest.layers)):
            self.tally.add("existing", size)
            tasks.get(digest, SILENT).done(self.words[2])

    def upload(self, blob: Descriptor, task: Task, stop: Event | None) -> None:
        """Send the bytes of the blob. Raises RegistryError."""

        def opener() -> Content:
            content = self.opened(blob)
            task.phase(self.words[0], blob.size)
            return _WatchedBlob(content, task.advance, stop)

        self.sink.put(blob, opener)


class _WatchedBlob:
    """A blob being read that reports how far it is and ends when told to stop."""

    def __init__(self, file: Content, advance: Callable[[int], None], stop: Event | None) -> None:
        self._file, self._advance, self._stop = file, advance, stop

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; raises Stopped."""
        if self._stop is not None and self._stop.is_set():
            raise Stopped("the transfer was stopped")
        data = self._file.read(size)
        self._advance(len(data))
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As the file's; progress counts on."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where reading is; urllib3 asks before it repeats a body."""
        return self._file.seek(0, 1)

    def close(self) -> None:
        """Close the file that is sent."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
