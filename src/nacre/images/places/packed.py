"""Plain layers compressed on their way: what docker gives away is never compressed.

An image that a docker-archive or a docker daemon gives goes to a registry as gzip, as docker itself would
push it. The compressed layers lie in files without a name until they are sent, so that their digests are
known.
"""

from __future__ import annotations

from tempfile import TemporaryFile
from threading import Lock

from ...grammars.codecs.pack import pack
from ...ground.work.pipe import ProgressReader
from ...ground.work.threads import in_parallel
from ...words.digest import Digest, Verifier
from ...words.oci import Descriptor, Manifest, parse_document
from ..layers.repack import form
from ..layers.sender import task_of
from ..layers.streamed import StreamedBlob
from .members import Section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from threading import Event
    from typing import BinaryIO

    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from ...words.progress import Progress, Task
    from ...words.reference import Reference
    from ..model.source import Source

_AT_ONCE = 2


class GzipSource:
    """A `Source` whose plain layers are gzip; the manifest is another one then. `close` it."""

    def __init__(self, source: Source, folder: str, progress: Progress, budget: Budget) -> None:
        """`folder` has room for the compressed layers."""
        self._source, self._folder, self._progress, self._budget = source, folder, progress, budget
        self._files: dict[Digest, BinaryIO] = {}
        self._made: dict[Digest, tuple[Descriptor, bytes]] = {}
        self._lock = Lock()

    @property
    def where(self) -> str:
        """The place of the source, for messages."""
        return self._source.where

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """As the source's, with plain layers compressed. Raises DigestMismatch, StoreError."""
        if reference.digest in self._made:
            return self._made[reference.digest]
        descriptor, data = self._source.resolve(reference)
        document = parse_document(data, descriptor.media_type)
        if not isinstance(document, Manifest):
            return descriptor, data
        plain = {layer.digest: layer for layer in document.layers if form(layer) == "none"}
        if not plain:
            return descriptor, data
        made = self._pack_all(list(plain.values()))
        layers = tuple(made.get(layer.digest, layer) for layer in document.layers)
        data = document.replace(layers=layers).encode()
        descriptor = Descriptor.of(data, document.media_type)
        self._made[descriptor.digest] = descriptor, data
        return descriptor, data

    def _pack_all(self, layers: list[Descriptor]) -> dict[Digest, Descriptor]:
        tasks = {layer.digest: task_of(self._progress, layer.digest, "Waiting") for layer in layers}
        made: dict[Digest, Descriptor] = {}

        def work(layer: Descriptor, stop: Event) -> None:
            made[layer.digest] = self._pack(layer, tasks[layer.digest], stop)

        in_parallel(work, layers, _AT_ONCE)
        return made

    def _pack(self, layer: Descriptor, task: Task, stop: Event) -> Descriptor:
        task.phase("Compressing", layer.size)
        file, verifier = TemporaryFile(dir=self._folder), Verifier()

        def write(data: bytes) -> None:
            verifier.update(data)
            file.write(data)

        try:
            with StreamedBlob(self._source, layer).open() as content:
                pack(ProgressReader(content, task, stop), write, "gzip", self._budget)
            file.flush()
        except BaseException:
            file.close()
            raise
        digest = verifier.verify()
        with self._lock:
            self._files[digest] = file
        task.done("Compressed")
        kind = f"{layer.media_type}{'.' if 'docker' in layer.media_type else '+'}gzip"
        return Descriptor(kind, digest, verifier.count)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """What was compressed here, else as the source's."""
        file = self._files.get(descriptor.digest)
        if file is None:
            return self._source.fetch(descriptor, offset)
        section = Section(file.fileno(), 0, descriptor.size)
        section.seek(offset)
        return section

    def close(self) -> None:
        """Close the source. Idempotent."""
        while self._files:
            self._files.popitem()[1].close()
