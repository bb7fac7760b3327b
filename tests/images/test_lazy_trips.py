"""What a lazy pull asks for at the same time: each round trip before a container starts counts."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from imagekit import ListsReferrers
from test_lazy import NAME, Forking, Pulled, store, wait_for
from test_partial import version

from nacre.grammars.accessprofile import AccessProfile
from nacre.grammars.sideindex import PROFILE
from nacre.ground.work.budget import Budget
from nacre.images.arrows.profile import find_profile
from nacre.images.arrows.pull import pull_lazily
from nacre.images.arrows.sideindexes import attach
from nacre.images.layers import division
from nacre.stores.store import Store
from nacre.stores.trees.lazy import LazyMaking
from nacre.words.digest import Digest
from nacre.words.oci import Descriptor

__all__ = ["store"]


class Together(ListsReferrers, Forking):
    """Its config comes when everything that can be asked for before it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.gate.set()
        self.table, self.listed = threading.Event(), threading.Event()
        self.waits = True

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> Any:
        if descriptor.media_type.endswith("config.v1+json") and self.waits:
            assert self.table.wait(30)
            assert self.listed.wait(30)
        return super().fetch(descriptor, offset)

    @contextmanager
    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> Iterator[Any]:
        self.table.set()
        with super().fetch_range(descriptor, start, end) as reader:
            yield reader

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        self.listed.set()
        return super().referrers(digest, artifact_type)


@pytest.fixture
def together() -> Together:
    return Together()


def lay(store: Store, registry: Together) -> Pulled:
    made = Pulled(store, registry)
    registry.gate.set()
    return made


def end(made: Pulled) -> None:
    made.begin()
    made.end()


def test_config_tables_and_what_is_attached_are_asked_for_together(store: Store, together: Together) -> None:
    together.layers("1", version(0), version(50))
    made = lay(store, together)
    assert len(made.layers) == 2
    end(made)


def test_each_table_is_fetched_once(store: Store, together: Together) -> None:
    together.layers("1", version(0), version(50))
    made = lay(store, together)
    assert len(together.ranges_begun) == len(set(together.ranges_begun)) == 2
    end(made)


def test_no_table_is_fetched_of_what_is_here(store: Store, together: Together) -> None:
    first = version(0)
    together.layers("1", first)
    end(lay(store, together))
    together.layers("1", first, version(50))
    together.ranges_begun.clear()
    made = lay(store, together)
    assert (len(made.layers), len(together.ranges_begun)) == (1, 1)
    end(made)


def test_nothing_is_asked_for_an_image_whose_layers_are_here(store: Store, together: Together) -> None:
    together.layers("1", version(0))
    end(lay(store, together))
    together.ranges_begun.clear()
    together.listed.clear()
    assert not pull_lazily(together, NAME, store).layers
    assert not together.ranges_begun
    assert not together.listed.is_set()


@pytest.mark.parametrize("processes", [1, 2])
def test_trees_are_made_while_the_profile_comes(
    store: Store, together: Together, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """The profile comes when a layer has been laid, in whatever process."""
    monkeypatch.setattr(division, "WORTH", 0)
    monkeypatch.setattr(division, "is_single_threaded", lambda: True)  # but for those that tests have left
    budget = Budget(2, processes=processes)
    monkeypatch.setattr(Store, "budget", property(lambda _store: budget))
    together.layers("1", version(0), version(50))
    profile = AccessProfile((Digest.of(b"a layer"),), ((0, 0, 1),))
    subject = Digest(together.tags["1"][0])
    data = profile.encode()
    manifest = Descriptor(together.tags["1"][1], subject, len(together.blobs[subject]))
    attach(together, manifest, [(Descriptor.of(data, PROFILE), data)])
    laid, lay_one = mmap.mmap(-1, 1), LazyMaking.fill

    def fill(making: LazyMaking, pieces: Any) -> Any:
        found = lay_one(making, pieces)
        laid[0] = 1
        return found

    def find(source: Any, attached: Any) -> AccessProfile | None:
        wait_for(lambda: laid[0] == 1)
        return find_profile(source, attached)

    monkeypatch.setattr(LazyMaking, "fill", fill)
    monkeypatch.setattr("nacre.images.arrows.profile.find_profile", find)
    pulled = pull_lazily(together, NAME, store)
    assert pulled.profile == profile
    assert together.forks[0] == processes - 1
    for layer in pulled.layers:
        store.trees.lazy.let_go(layer.tree)
