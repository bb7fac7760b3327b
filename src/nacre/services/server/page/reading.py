"""Reads layers for the page, beside everything else: a few at a time, each once, with an end.

An image is asked for until all of its layers are known. Who asks waits a moment, then gets a page that asks
again; what a layer of rubbish costs is paid once, because the reason is kept as well.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from ....grammars.wire.errors import Code, refusal
from ....stores.listings import Bounded, Listings
from ....stores.trees.reading.view import TreeView
from ....words.errors import InvalidArchive, NacreError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import TypeVar

    from ....stores.listings import LayerListing
    from ....stores.storage.protocol import ContentReader
    from ....words.digest import Digest
    from ....words.oci import Descriptor, Manifest
    from ..state import RegistryState

    T = TypeVar("T")

_THREADS = 2
_PATIENCE = 1.5
"""Seconds that somebody waits for a page."""
_MOST_WAITING = 256
_MOST_FAILED = 1000


class StillReading(Exception):
    """Of `layers` of an image `known` are read; ask again."""

    def __init__(self, known: int, layers: int) -> None:
        super().__init__(f"{known} of {layers}")
        self.known, self.layers = known, layers


class LayerStream:
    """A stored layer as a stream of bytes, as many at a time as are asked for. Close it."""

    def __init__(self, pieces: ContentReader) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, count: int, /) -> bytes:
        """At most so many bytes, b"" at the end. Raises NotFound, DigestMismatch."""
        if not self._rest:
            self._rest = self._pieces.read()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def close(self) -> None:
        """Let go of what is open. Idempotent."""
        self._pieces.close()


class LayerContents:
    """What is in the layers of one registry. `close` it."""

    def __init__(self, state: RegistryState) -> None:
        self._state = state
        self.listings = Listings.at(state.store.root)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="nacre-layers")
        self._reading: dict[Digest, Future[None]] = {}
        self._failed: OrderedDict[Digest, str] = OrderedDict()
        self._closing = threading.Event()

    async def image(self, name: str, manifest: Manifest) -> list[tuple[Digest, LayerListing]]:
        """The listings of its layers, lowest first; close them.

        Raises StillReading, InvalidArchive for what cannot be read, NotFound for a layer that is not here.
        """
        end = asyncio.get_running_loop().time() + _PATIENCE
        wanted = list(dict.fromkeys(manifest.layers))
        for layer in wanted:
            await self._check(name, layer)
        for layer in wanted:
            await self._ensure(layer, end, wanted)
        return await asyncio.to_thread(self._open, manifest)

    async def _check(self, name: str, layer: Descriptor) -> None:
        if layer.digest in self._failed:
            raise InvalidArchive(self._failed[layer.digest])
        if await self._state.work.ask(self._state.catalog.blob, name, layer.digest) is None:
            raise NotFound(f"the layer {layer.digest} is not in this repository")

    async def _ensure(self, layer: Descriptor, end: float, wanted: list[Descriptor]) -> None:
        running = self._reading.get(layer.digest) or self._begin(layer)
        if running is None:
            return
        left = max(0.0, end - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait({asyncio.wrap_future(running)}, timeout=left)
        if not done:
            for other in wanted:
                self._begin(other)
            known = [each for each in wanted if each.digest not in self._reading]
            raise StillReading(len(known), len(wanted))
        if layer.digest in self._failed:
            raise InvalidArchive(self._failed[layer.digest])

    def _begin(self, layer: Descriptor) -> Future[None] | None:
        """Read it, unless it is known; None then."""
        if layer.digest in self._reading:
            return self._reading[layer.digest]
        found = self.listings.find(layer.digest)
        if found is not None:
            found.close()
            return None
        if len(self._reading) >= _MOST_WAITING:
            raise refusal(Code.TOOMANYREQUESTS, "too many layers are being read: ask again in a while")
        loop = asyncio.get_running_loop()
        future = self._reading[layer.digest] = self._pool.submit(self._read, layer)
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._reading.pop, layer.digest, None))
        return future

    def _read(self, layer: Descriptor) -> None:
        """In a thread; why it could not be is kept."""
        try:
            with closing(self._stream(layer)) as file:
                self.listings.make(layer.digest, file, self._closing.is_set)
        except NacreError as error:
            if self._closing.is_set():
                return
            self._failed[layer.digest] = error.message
            if len(self._failed) > _MOST_FAILED:
                self._failed.popitem(last=False)

    def _open(self, manifest: Manifest) -> list[tuple[Digest, LayerListing]]:
        found: list[tuple[Digest, LayerListing]] = []
        try:
            for layer in manifest.layers:
                listing = self.listings.find(layer.digest)
                if listing is None:
                    raise NotFound(f"the layer {layer.digest} is not read any more: load the page again")
                found.append((layer.digest, listing))
        except BaseException:
            TreeView(found).close()
            raise
        return found

    async def run(self, function: Callable[[], T]) -> T:
        """In a thread of these, which others wait for."""
        return await asyncio.wrap_future(self._pool.submit(function))

    def _stream(self, layer: Descriptor) -> LayerStream:
        found = self._state.storage.locate(layer.digest, layer.size)
        if found is None:
            raise NotFound(f"the layer {layer.digest} is not in this registry")
        return LayerStream(self._state.storage.open(found, 0, layer.size))

    def content(self, layer: Descriptor, start: int, size: int) -> bytes:
        """Bytes of the tar of a layer; in a thread. Raises InvalidArchive, NotFound."""
        with closing(self._stream(layer)) as file:
            stream = Bounded(file, self.listings.limits, self._closing.is_set)
            stream.skip(start)
            found = bytearray()
            while len(found) < size and (data := stream.read(size - len(found))):
                found += data
        return bytes(found)

    def close(self) -> None:
        """What is being read is given up."""
        self._closing.set()
        self._pool.shutdown(cancel_futures=True)
