"""Layers that come lazily at first and then as one stream: unpacked, hashed and written once."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from test_lazy import Gated, Indexed, gated, pulled, store
from test_partial import read, version

from nacre.images.layers import checkpoints, filler
from nacre.stores.store import Store
from nacre.words.oci import Descriptor

__all__ = ["gated", "store"]

LONG = 1 << 20
"""Bytes of more than what comes for a read."""


@pytest.fixture(autouse=True)
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any line is quick, and any read is much."""
    monkeypatch.setattr(filler, "QUICK", 0.0)
    monkeypatch.setattr(filler, "MUCH_READ", 1 << 40)
    monkeypatch.setitem(checkpoints.APART, "gzip", 1 << 18)


class OnceWrong:
    """In the first long range one byte is another."""

    lies = 1

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> Iterator[Any]:
        with super().fetch_range(descriptor, start, end) as reader:  # type: ignore[misc]
            if end - start > LONG and self.lies:
                self.lies -= 1
                data = bytearray(reader.read())
                data[len(data) // 2] ^= 1
                reader = io.BytesIO(data)
            yield reader


class WrongChunked(OnceWrong, Gated):
    pass


class WrongIndexed(OnceWrong, Indexed):
    pass


class Stalled:
    """Gives the beginning of a range at once, and the rest when `go` is set; `stalled` says that it waits."""

    def __init__(self, reader: io.BytesIO, stalled: threading.Event, go: threading.Event) -> None:
        self._reader, self._stalled, self._go = reader, stalled, go

    def read(self, count: int, /) -> bytes:
        if self._reader.tell() > LONG + LONG // 4:
            self._stalled.set()
            assert self._go.wait(60)
        return self._reader.read(count)


class Stalling(Gated):
    """Long ranges stall."""

    def __init__(self) -> None:
        super().__init__()
        self.stalled, self.go = threading.Event(), threading.Event()

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> Iterator[Any]:
        with super().fetch_range(descriptor, start, end) as reader:
            yield Stalled(reader, self.stalled, self.go) if end - start > LONG else reader


def test_what_a_stream_has_hashed_is_not_read_again(store: Store, gated: Gated) -> None:
    """Pieces that came before it are in it, too."""
    files = version()
    gated.chunked("1", files)
    with pulled(store, gated, files["lib/part20/file"] or b"") as made:
        assert read(store, made.result, "lib/part20/file") == files["lib/part20/file"]
        (layer,) = made.layers
        made.end()
        assert made.proven == [True]
        assert store.trees.has(layer.tree.diff_id)
        assert all(read(store, made.result, path) == content for path, content in files.items())


@pytest.mark.parametrize("kind", [WrongChunked, WrongIndexed])
def test_after_a_wrong_stream_it_comes_in_pieces(store: Store, kind: type[Gated]) -> None:
    files, registry = version(), kind()
    registry.chunked("1", files)
    with pulled(store, registry) as made:
        registry.gate.set()
        assert all(read(store, made.result, path) == content for path, content in files.items())
        made.end()
        assert all(read(store, made.result, path) == content for path, content in files.items())
    assert registry.lies == 0


def test_who_has_waited_long_does_not_wait_for_a_stream(store: Store) -> None:
    """What has passed is verified by itself, what has not is fetched by itself."""
    files, registry = version(), Stalling()
    registry.chunked("1", files)
    paths = sorted(files)
    with pulled(store, registry) as made:
        registry.gate.set()
        try:
            assert read(store, made.result, paths[-1]) == files[paths[-1]]
            assert registry.stalled.wait(30)
            asked = len(registry.ranges)
            assert read(store, made.result, paths[0]) == files[paths[0]]
            assert len(registry.ranges) == asked
        finally:
            registry.go.set()
        made.end()
