"""The compressed form of a layer, which need not lie in a file: whoever wants its bytes asks here.

    file      as it was received, in `blobs/`
    again     made of its tree's tar, by the recipe that it was made by here; a plain layer is that tar
    source    fetched from a repository that is known to hold it

What is made or fetched is verified on its way, so that what is sent has the digest that it is sent under.
"""

from __future__ import annotations

import os
import sys

from ... import __version__
from ...words.digest import Digest, Verifier
from ...words.errors import ContentError, NacreError, NotFound, Unsupported
from ...words.light import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Self

    from ...grammars.tar.entry import Reader
    from ...ground.work.budget import Budget
    from ...ground.work.pipe import Pipe
    from ...ground.work.threads import Worker
    from ...stores.store import Store
    from ...words.oci import Descriptor
    from ..model.source import Content, Source

    Sources = Callable[[str], Source]
    """The repository of a registry that has this name, `registry/repository`."""

_CHUNK = 1 << 18
_LIBRARIES = {"isa": "isal", "zstd": "zstandard"}
"""The packages that compress, by the beginning of the library in a recipe."""
NEW_DIGEST = "`nacre save IMAGE | nacre load` re-creates the image with a new digest"


def is_here(store: Store, layer: Descriptor) -> bool:
    """Whether this store gives the layer in just this form, without a registry; leased as by `has`."""
    return store.blobs.has(layer.digest) or is_remade(store, layer)


def is_remade(store: Store, layer: Descriptor) -> bool:
    """Whether it can be made again of its tree, as this version of nacre compresses."""
    diff_id, recipe = _made_of(store, layer.digest)
    return _is_current(store, recipe) and store.trees.can_tar(diff_id)


def _is_current(store: Store, recipe: str) -> bool:
    """As `recipe.is_current`, which loads what compresses only to ask for its version: so that is asked again
    only when nacre or the library was installed meanwhile.
    """
    stamp = _stamp(recipe)
    if recipe == "none" or (stamp and store.layers.checked(recipe) == stamp):
        return True
    from ...grammars.codecs.recipe import is_current

    found = is_current(recipe)
    if found and stamp:
        store.layers.check(recipe, stamp)
    return found


def _stamp(recipe: str) -> str:
    """What changes when nacre or the package of a recipe is installed anew; "" where nobody knows."""
    package = _LIBRARIES.get(recipe.partition("/")[2].partition("-")[0], "")
    for folder in sys.path if package else ():
        with suppress(OSError):
            found = os.stat(f"{folder}/{package}")
            own = os.stat(f"{os.path.dirname(__file__)}/../../grammars/codecs")
            times = f"{own.st_ino} {own.st_mtime_ns} {found.st_ino} {found.st_mtime_ns}"
            return f"{__version__} {times} {folder}"
    return ""


def _made_of(store: Store, digest: Digest) -> tuple[Digest, str]:
    """The tar that a layer is made of, and how; a layer that nothing is known of may be a tar itself."""
    diff_id, recipe = store.layers.recipe(digest) or (digest, "none")
    return diff_id, "none" if diff_id == digest else recipe


class CompressedForms:
    """Opens layers of a store in the form that a descriptor names. Safe for threads.

    `sources` gives repositories to fetch from; without, nothing is fetched. `but` is one not to ask.
    """

    def __init__(self, store: Store, sources: Sources | None = None, but: str = "") -> None:
        self._store, self._sources, self._but = store, sources, but

    def open(self, layer: Descriptor) -> Content:
        """The bytes, from the beginning; whoever opens closes. Reading raises ContentError, RegistryError.

        Raises NotFound when they are nowhere to be had, Unsupported when they can only be made otherwise.
        """
        with suppress(NotFound):
            return self._store.blobs.open(layer.digest)
        if is_here(self._store, layer):
            return self._again(layer)
        fetched = self.fetch(layer)
        if fetched is not None:
            return fetched
        diff_id, recipe = _made_of(self._store, layer.digest)
        if recipe and self._store.trees.can_tar(diff_id):
            return self._again(layer)
        raise self._nowhere(layer)

    def reaches(self, layer: Descriptor) -> bool:
        """Whether `open` gives it now; a source is asked, and what another version has made is tried."""
        try:
            with self.open(layer) as content:
                while isinstance(content, RecompressedLayer) and content.read():
                    pass
        except NacreError:
            return False
        return True

    def _again(self, layer: Descriptor) -> Content:
        diff_id, recipe = _made_of(self._store, layer.digest)
        return RecompressedLayer(layer, recipe, lambda: self._store.trees.tar(diff_id), self._store.budget)

    def fetch(self, layer: Descriptor) -> Content | None:
        """From the first source that has it, if any; those that have it no more are forgotten."""
        for where in self._asked(layer):
            assert self._sources is not None
            content = Fetched(layer, self._sources(where))
            try:
                content.seek(0)
            except NotFound:
                self._store.layers.drop_source(layer.digest, where)
            except NacreError:
                continue
            else:
                return content
        return None

    def _asked(self, layer: Descriptor) -> list[str]:
        if self._sources is None:
            return []
        return [where for where in self._store.layers.sources(layer.digest) if where != self._but]

    def _nowhere(self, layer: Descriptor) -> NotFound:
        known = ", ".join(self._asked(layer)[:3])
        place = f", and {known} does not have it" if known else ""
        return NotFound(
            f"layer {layer.digest} is not in the store in this compressed form{place}; in another form its "
            "digest, and that of the image, would change",
            hint=f"pull the image again with --layer-blobs keep; {NEW_DIGEST}",
        )


class _Verified:
    """A `Content` whose bytes come from `_start` and are verified when they are read from the beginning."""

    def __init__(self, layer: Descriptor) -> None:
        self.layer = layer
        self._at = -1
        self._reader: Reader | None = None
        self._verifier: Verifier | None = None

    def _start(self, offset: int) -> tuple[Reader, int]:
        """A reader, and where it begins: at `offset` or before. Whatever was read from before is closed."""
        raise NotImplementedError

    def _stop(self) -> None:
        """Let go of what `_start` began. Idempotent."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; the last of them only when all were right."""
        if self._reader is None:
            self.seek(0)
        assert self._reader is not None
        data = self._reader.read(_CHUNK if size < 0 else size)
        self._at += len(data)
        try:
            self._check(data)
        except ContentError as error:
            raise self._wrong(error) from None
        return data

    def _check(self, data: bytes) -> None:
        if self._verifier is not None:
            self._verifier.update(data)
            if self._at >= self.layer.size or not data:
                self._verifier.verify()

    def _wrong(self, error: ContentError) -> NacreError:
        return error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset`; going back begins anew."""
        if whence == 1:
            return max(0, self._at)
        if self._reader is None or offset != self._at:
            self._stop()
            self._reader, self._at = self._start(offset)
            what = f"layer {self.layer.digest.short}"
            whole = self._at == 0
            self._verifier = Verifier(self.layer.digest, self.layer.size, what=what) if whole else None
            while self._at < offset and self.read(min(_CHUNK, offset - self._at)):
                pass
        return self._at

    def tell(self) -> int:
        """The position of the next byte."""
        return max(0, self._at)

    def close(self) -> None:
        """Close the tree or blob that is read. Idempotent."""
        self._stop()
        self._reader = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class RecompressedLayer(_Verified):
    """A layer compressed again, as it is read; zstd:chunked in a thread of its own."""

    def __init__(self, layer: Descriptor, recipe: str, tar: Callable[[], BinaryIO], budget: Budget) -> None:
        """Raises Unsupported for a recipe that is not known here."""
        from contextlib import ExitStack

        from ...grammars.codecs.recipe import ingredients

        super().__init__(layer)
        self._recipe, self._tar, self._budget = recipe, tar, budget
        self._codec, self._level = ingredients(recipe)
        self._end = ExitStack()

    def _start(self, offset: int) -> tuple[Reader, int]:
        from contextlib import closing

        from ...grammars.codecs.compressor import CHUNKED
        from ...grammars.codecs.pack import CompressedReader

        if self._codec == CHUNKED:
            return self._staged(), 0
        file = self._end.enter_context(self._tar())
        return self._end.enter_context(
            closing(CompressedReader(file, self._codec, self._budget, self._level))
        ), 0

    def _staged(self) -> Reader:
        from ...ground.work.pipe import Pipe
        from ...ground.work.threads import Worker

        pipe = Pipe()
        stage = Worker(lambda: self._compress(pipe), feeds=pipe)
        self._end.callback(stage.join)
        self._end.callback(pipe.fail)
        stage.start()
        return _PipeEnd(pipe, stage)

    def _compress(self, pipe: Pipe) -> None:
        from ...grammars.codecs.pack import pack

        with self._tar() as file:
            pack(file, pipe.write, self._codec, self._budget, self._level)

    def _stop(self) -> None:
        self._end.close()

    def _wrong(self, error: ContentError) -> NacreError:
        from ...grammars.codecs.recipe import is_current, recipe

        if is_current(self._recipe):
            what, hint = "on another processor, or its tree is damaged", "`nacre system check` finds out; "
        else:
            what, hint = f"with {self._recipe}, but this version uses {recipe(self._codec, self._level)}", ""
        return Unsupported(
            f"layer {self.layer.digest} cannot be reproduced bit for bit: it was compressed {what}; its "
            "digest, and that of the image, would change",
            hint=hint + NEW_DIGEST,
        )


class _PipeEnd:
    """The end of a pipe, which raises what its worker has raised."""

    def __init__(self, pipe: Pipe, worker: Worker) -> None:
        self._pipe, self._worker = pipe, worker

    def read(self, size: int, /) -> bytes:
        try:
            return self._pipe.read(size)
        except NacreError:
            self._worker.join()
            raise self._worker.failure or NotFound("a layer was closed while it was being read") from None


class Fetched(_Verified):
    """A layer from a registry, passed through."""

    def __init__(self, layer: Descriptor, source: Source) -> None:
        super().__init__(layer)
        self._source = source
        self._open: AbstractContextManager[Reader] | None = None

    def _start(self, offset: int) -> tuple[Reader, int]:
        opened = self._source.fetch(self.layer, offset)
        reader = opened.__enter__()
        self._open = opened
        return reader, offset

    def _stop(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
