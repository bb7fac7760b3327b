"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from imagekit import Registry

from nacre.stores.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store"), layer_blobs="keep") as opened:
        yield opened


@pytest.fixture
def other_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "other"), layer_blobs="keep") as opened:
        yield opened


@pytest.fixture
def registry() -> Registry:
    return Registry()
