"""Files of layers are the same looked for by their folder as from the root."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.write import TarWriter
from nacre.images.layers.ingest import add_layer
from nacre.services.build.layers import Layers
from nacre.words.digest import Digest

LAYERS = (
    (
        Entry(b"a", "dir", 0o755), Entry(b"a/b", "dir", 0o755), Entry(b"a/b/file", size=1),
        Entry(b"a/gone", size=1), Entry(b"link", "symlink", link=b"a/b"),
        Entry(b"a/up", "symlink", link=b"../a"),
        Entry(b"loop", "symlink", link=b"loop"), Entry(b"file", size=1), Entry(b"hidden", "dir", 0o755),
        Entry(b"hidden/x", size=1), Entry(b"a/to", "symlink", link=b"b/file"),
    ),
    (
        Entry(b"a/.wh.gone", size=0), Entry(b"a/b/new", size=1), Entry(b".wh.hidden", size=0),
        Entry(b"link/through", size=1),
    ),
)  # fmt: skip
PATHS = st.lists(
    st.sampled_from((b"a", b"b", b"file", b"link", b"up", b"gone", b"new", b"to", b"hidden", b"x", b"through",
                     b"loop", b"..", b".", b"")), max_size=5,
).map(b"/".join)  # fmt: skip


@pytest.fixture
def layers(store: Any) -> list[Digest]:
    return [add_layer(store, tar(entries))[1] for entries in LAYERS]


def tar(entries: tuple[Entry, ...]) -> io.BytesIO:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry in entries:
        writer.add(entry, io.BytesIO(b"x" * entry.size))
    writer.close()
    out.seek(0)
    return out


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATHS, min_size=1, max_size=6))
def test_a_path_means_the_same_after_others(store: Any, layers: list[Digest], paths: list[bytes]) -> None:
    with Layers(store, layers, "x") as files, store.trees.open(layers) as view:
        for path in paths:
            item, found = files.lookup(path), view.lookup(path, follow=False)
            assert (item and item.path) == (found and found.path), path
            assert (item and item.kind) == (found and found.kind), path
            target = view.lookup(path)
            is_file = target is not None and target.kind == "file"
            assert files.read(path, 10) == (b"x" if is_file and target.size else b""), path


def test_a_path_that_is_very_deep_is_looked_for(store: Any, layers: list[Digest]) -> None:
    with Layers(store, layers, "x") as files:
        assert files.lookup(b"a/" * 5000 + b"x") is None
        assert files.lookup(b"a/../" * 2000 + b"file") is not None
