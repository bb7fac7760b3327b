"""What the tests of this room share: a place outside, a registry that lies, an image to run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import userns

sys.path += [str(Path(__file__).parents[1] / room) for room in ("client", "crash")]

from bench import Zygote
from evil import Image, Outside
from fakeregistry import FakeRegistry
from forked import forked_nacre, untuned_zygote  # noqa: F401 - they are fixtures
from quick import Quick


@pytest.fixture
def quick(zygote: Zygote, nacre: Any, tmp_path: Path) -> Quick:
    """`quick("images")`: as `nacre`, in a fork of a process that has imported everything."""
    folder = tmp_path / "quick"
    folder.mkdir()
    return Quick(zygote, nacre, folder)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    """A folder of the host; that nothing in it was touched is checked when the test ends."""
    place = Outside(tmp_path / "outside")
    yield place
    place.check()


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    yield registry
    registry.close()


@pytest.fixture
def needs_ids() -> None:
    """Skip where a file can belong to nobody but ourselves."""
    mapping = userns.current() if userns.mapped() else userns.call(userns.enter)
    if mapping.single:
        pytest.skip("other users need a range of subordinate ids")


@pytest.fixture
def hostile(nacre: Any, busybox_image: str, busybox_tar: bytes) -> Callable[..., str]:
    """`hostile(layer, …, run={…})` loads an image of busybox and these layers; its name.

    A layer that leads outside the root must have been refused before it comes to running: see
    test_archives.py. What is here is legal in a layer.
    """

    def load(*layers: bytes, **options: Any) -> str:
        nacre("load", input=Image(busybox_tar, *layers, **options).archive("evil:1"))
        return "evil:1"

    return load


@pytest.fixture
def project(nacre: Any, busybox_image: str, tmp_path: Path) -> Path:
    """The folder of a build, in a store that has busybox:test."""
    folder = tmp_path / "context"
    folder.mkdir()
    return folder
