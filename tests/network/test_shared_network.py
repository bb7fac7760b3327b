"""The network of another container, whose keeper may end at any moment."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nacre.ground.network.serving import accepted
from nacre.services.containers.networksocket import listener
from nacre.services.containers.shared import SharedNetworking
from nacre.words.errors import SandboxError


def test_a_keeper_that_ends_while_it_is_asked(tmp_path: Path) -> None:
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
    folders = SimpleNamespace(
        folder=lambda number: f"{tmp_path}/{number}", file=lambda number, name: f"{tmp_path}/{number}/{name}"
    )
    store: Any = SimpleNamespace(containers=folders)
    own, other = (SimpleNamespace(id=name) for name in ("own", "other"))
    config = {"linux": {"namespaces": []}}
    with closing(listener(str(tmp_path / "other"))) as socket:
        socket.setblocking(True)
        ending = threading.Thread(target=lambda: _end(socket))
        ending.start()
        shared = SharedNetworking(store, own, config, other)
        with pytest.raises(SandboxError, match="does not answer"), shared:
            pass
        ending.join()
    assert not list((tmp_path / "own").iterdir())


def _end(socket: Any) -> None:
    """Hear what is asked, and say nothing."""
    client = accepted(socket)
    client.recv(4096)
    client.close()
