"""Cache mounts that travel: tars of folders, cut where their content says: a small change moves little.

    folder ──scan──▶ tar ──FastCDC──▶ chunks ──new ones, zstd──▶ sink;  then the list of all of them

A chunk that the list at the far side names is there, and is neither compressed nor sent.
"""

from __future__ import annotations

import os
from importlib import import_module
from io import BytesIO

from ...grammars import mountcache
from ...grammars.mountcache import CHUNK, MOST, MountChunk
from ...grammars.tar.read import read_tar
from ...grammars.tar.write import TarWriter
from ...ground.extract import Form, extract
from ...ground.files import Lock, os_errors
from ...ground.scan import scan
from ...ground.work.pipe import Pipe, PipeBuffer
from ...ground.work.threads import Worker, in_parallel, running
from ...words.digest import Digest
from ...words.errors import DigestMismatch, TooLarge, Unsupported
from ...words.oci import MAX_DOCUMENT, Descriptor, Manifest, parse_document
from ..layers.receive import fetch_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Event
    from typing import Any

    from ...words.reference import Reference
    from ..model.source import Sink, Source

    Mounts = dict[str, tuple[MountChunk, ...]]

_USUAL, _LEAST = 512 << 10, 128 << 10
_AT_ONCE = 8


def load_mounts(source: Source, reference: Reference) -> Mounts:
    """The cache mounts that `reference` names. Raises NotFound, RegistryError, ContentError, Unsupported."""
    manifest = parse_document(source.resolve(reference)[1])
    if not isinstance(manifest, Manifest):
        raise Unsupported("it holds no cache mounts")
    if manifest.config.size > MAX_DOCUMENT:
        raise TooLarge(f"its config has {manifest.config.size} bytes, more than the {MAX_DOCUMENT} allowed")
    return mountcache.decode(manifest, fetch_small(source, manifest.config, "list of cache mounts"))


def fill(source: Source, chunks: Sequence[MountChunk], folder: str, *, owners: bool) -> None:
    """Extract a cache mount into an empty folder. Raises NotFound, RegistryError, ContentError."""
    form = Form(whiteouts="none", owners=owners, devices=False)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os_errors(f"write to {folder}"):
            extract(read_tar(_ChunkReader(source, chunks)), fd, form)
    finally:
        os.close(fd)


class _ChunkReader:
    """Chunks one after the other, some of them fetched at once."""

    def __init__(self, source: Source, chunks: Sequence[MountChunk]) -> None:
        self._source, self._chunks, self._at = source, chunks, 0
        self._held = BytesIO()

    def read(self, size: int = -1, /) -> bytes:
        data = self._held.read(size)
        while not data and size and self._at < len(self._chunks):
            self._held = BytesIO(b"".join(self._next()))
            data = self._held.read(size)
        return data

    def _next(self) -> list[bytes]:
        wanted = self._chunks[self._at : self._at + _AT_ONCE]
        found = [b""] * len(wanted)

        def fetch(number: int, _stop: Event) -> None:
            found[number] = _fetched(self._source, wanted[number])

        in_parallel(fetch, range(len(wanted)), _AT_ONCE)
        self._at += len(wanted)
        return found


def _fetched(source: Source, chunk: MountChunk) -> bytes:
    from zstandard import ZstdDecompressor, ZstdError

    packed = fetch_small(source, chunk.blob, "chunk of a cache mount")
    try:
        data = ZstdDecompressor().stream_reader(packed).read(chunk.size + 1)
    except ZstdError:
        data = b""
    if len(data) != chunk.size or Digest.of(data) != chunk.raw:
        raise DigestMismatch(chunk.raw, Digest.of(data), what="a chunk of a cache mount")
    return data


class MountExport:
    """Sends cache mounts to one sink; `kept` are those that are there. `sent` counts bytes."""

    def __init__(self, sink: Sink, kept: Mounts, *, owners: bool) -> None:
        self._sink, self._owners, self.mounts = sink, owners, dict(kept)
        self._known = {chunk.raw: chunk for chunks in kept.values() for chunk in chunks}
        self.sent = 0

    def add(self, name: str, folder: str) -> bool:
        """Send a mount; False while a build uses it. Raises RegistryError, StoreError, Unsupported."""
        lock = Lock.attempt(f"{folder}.lock")
        if lock is None:
            return False
        try:
            self.mounts[name] = tuple(self._cut(folder))
        finally:
            lock.release(remove=True)
        return True

    def _cut(self, folder: str) -> list[MountChunk]:
        pipe, made = Pipe(), {}

        def keep(item: tuple[int, bytes], _stop: Event) -> None:
            made[item[0]] = self._sent(item[1])

        stage = Worker(lambda: _write_tar(folder, pipe, owners=self._owners), feeds=pipe)
        with running([stage], [pipe]):
            in_parallel(keep, enumerate(_pieces(pipe)), _AT_ONCE)
        return [made[number] for number in sorted(made)]

    def _sent(self, data: bytes) -> MountChunk:
        raw = Digest.of(data)
        if raw in self._known:
            return self._known[raw]
        from zstandard import ZstdCompressor

        packed = ZstdCompressor(level=3).compress(data)
        blob = Descriptor.of(packed, CHUNK)
        if not self._sink.has(blob):
            self._sink.put(blob, lambda: BytesIO(packed))
            self.sent += len(packed)
        self._known[raw] = MountChunk(raw, len(data), blob)
        return self._known[raw]

    def close(self, target: str) -> None:
        """Write the list of all mounts under a tag or name. Raises TooLarge, RegistryError."""
        manifest, config = mountcache.encode(self.mounts)
        if not self._sink.has(manifest.config):
            self._sink.put(manifest.config, lambda: BytesIO(config))
        self._sink.put_manifest(target, manifest.encode(), manifest.media_type)


def _write_tar(folder: str, pipe: Pipe, *, owners: bool) -> None:
    buffer = PipeBuffer(pipe)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        writer = TarWriter(buffer.write)
        for entry, payload in scan(fd, Form(whiteouts="none", owners=owners)):
            if entry.path:
                writer.add(entry, payload() if payload else None)
        writer.close()
        buffer.flush()
    finally:
        os.close(fd)


def _pieces(stream: Pipe) -> Iterator[bytes]:
    """The chunks of a stream. Raises Unsupported without the library."""
    try:
        library: Any = import_module("pyfastcdc")
    except ImportError:
        raise Unsupported("cache mounts need pyfastcdc to travel", hint="pip install nacre[mounts]") from None
    cutter = library.FastCDC(_USUAL, min_size=_LEAST, max_size=MOST)
    for chunk in cutter.cut_stream(stream):
        yield bytes(chunk.data)
