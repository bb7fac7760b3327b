"""What a child of the Python API writes comes to the caller, however the caller takes it."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from nacre.engine import Config, Engine
from nacre.engine.piped import piped

if TYPE_CHECKING:
    from conftest import Nacre


@pytest.fixture(params=["in this process", "in a child"])
def engine(nacre: Nacre, busybox_image: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine; where SIGCHLD is handled it works in a child, whoever the user is."""
    nacre("create", "--name", "first", busybox_image)
    before = signal.getsignal(signal.SIGCHLD)
    if request.param == "in a child":
        signal.signal(signal.SIGCHLD, lambda *_: None)
    with Engine(Config(str(nacre.root))) as made:
        yield made
    signal.signal(signal.SIGCHLD, before)


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_export(engine: Engine) -> None:
    written = io.BytesIO()
    engine.containers.export("first", written.write)
    assert "bin/sh" in names(written.getvalue())


def test_an_archive_of_files(engine: Engine) -> None:
    written = io.BytesIO()
    engine.containers.get_archive("first", "/bin/sh", written.write)
    assert names(written.getvalue()) == ["sh"]


def test_the_files_of_an_image(engine: Engine, busybox_image: str) -> None:
    written = io.BytesIO()
    engine.export_tar(busybox_image, written)
    assert "bin/sh" in names(written.getvalue())


def test_what_the_caller_raises_ends_it(engine: Engine) -> None:
    def write(_data: bytes) -> None:
        raise KeyError("full")

    with pytest.raises(KeyError, match="full"):
        engine.containers.export("first", write)


def test_nothing_stays_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    assert piped(len, lambda write, _meanwhile: write(b"four")) == 4
    assert set(os.listdir("/proc/self/fd")) == before
