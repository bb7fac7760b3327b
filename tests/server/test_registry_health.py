"""Probes, and the end of a registry: what is under way ends, nothing more is taken."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server import health as module
from nacre.words.errors import DiskFull, StoreError

DEADLINE = 60


def until(condition: Any) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def test_all_is_well(api: Any) -> None:
    found = api("GET", "/healthz")
    assert (found.status, found.json) == (200, {"status": "ok"})
    found = api("GET", "/readyz")
    assert found.json == {"status": "ok", "parts": {"catalog": "ok", "storage": "ok", "disk": "ok"}}
    assert (found.status, found.headers["Cache-Control"]) == (200, "no-store")
    assert api("HEAD", "/readyz").status == 200
    assert api("GET", "/healthz/x").status == 404


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [(StoreError("/secret/path is damaged"), 503, "failed"), (DiskFull("no space"), 200, "full")],
)
def test_a_part_that_fails_is_named(
    serving: RunningServer,
    api: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    said: str,
    log: list[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(serving.registry.state.store, "check_room", fail)
    found = api("GET", "/readyz")
    assert (found.status, found.json["parts"]["disk"]) == (status, said)
    assert b"secret" not in found.body
    log.clear()


def test_content_that_is_gone(serving: RunningServer, api: Any, log: list[str]) -> None:
    """A disk that is no longer mounted, say. The log says why, once."""
    folder = Path(serving.registry.state.store.root, "blobs")
    folder.rename(folder.with_name("elsewhere"))
    for _ in range(2):
        found = api("GET", "/readyz")
        assert (found.status, found.json["parts"]["storage"]) == (503, "failed")
    assert [line.partition(" /")[0] for line in log] == ["error: not ready: storage: cannot read"]
    log.clear()
    folder.with_name("elsewhere").rename(folder)
    assert api("GET", "/readyz").status == 200


def test_a_part_that_hangs_is_asked_once(
    serving: RunningServer, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = [], threading.Event()

    def hang() -> None:
        asked.append(1)
        go.wait(DEADLINE)

    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(serving.registry.state.store, "check_room", hang)
    for _ in range(3):
        found = api("GET", "/readyz")
        assert (found.status, found.json["parts"]["disk"]) == (503, "no answer")
    assert len(asked) == 1
    go.set()
    monkeypatch.undo()
    until(lambda: api("GET", "/readyz").status == 200)


class Served:
    """`nacre registry serve` with a client that is in the middle of a push."""

    def __init__(self, root: Path, api_of: Any, **variables: str) -> None:
        line = [sys.executable, "-m", "nacre", "registry", "serve", "-q", "--addr", "127.0.0.1:0"]
        names = {f"NACRE_SERVE_SERVER_{name.upper()}": value for name, value in variables.items()}
        self.process = subprocess.Popen(
            [*line, "--root", str(root)], stdout=subprocess.PIPE, env=os.environ | names, text=True
        )
        assert self.process.stdout is not None
        self.api = api_of(self.process.stdout.readline().split()[2].removesuffix("/v2/,"))
        host, _, port = self.api.address.partition(":")
        location = self.api.begin("app")
        self.pushing = socket.create_connection((host, int(port)), timeout=DEADLINE)
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n"
        self.pushing.sendall(head.encode() + b"x" * 500_000)
        until(lambda: self.api("GET", location).headers["Range"] != "0-0")

    def ready(self) -> int:
        try:
            return int(self.api("GET", "/readyz").status)
        except OSError:
            return 0

    def end(self) -> None:
        self.pushing.close()
        self.process.kill()
        self.process.communicate(timeout=DEADLINE)


def test_a_request_under_way_ends_first(tmp_path: Path, api_of: Any) -> None:
    served = Served(tmp_path / "r", api_of, stop_delay="1d", stop_timeout="1d")
    try:
        kept = http.client.HTTPConnection(served.api.address, timeout=DEADLINE)
        kept.request("GET", "/readyz")
        assert kept.getresponse().read()
        served.process.terminate()
        until(lambda: served.ready() == 503)
        kept.request("GET", "/v2/")
        answer = kept.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        kept.close()
        served.pushing.sendall(b"x" * 100_000)
        assert served.pushing.recv(12) == b"HTTP/1.1 202"
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(DEADLINE) == 0
    finally:
        served.end()


def test_nothing_more_is_taken_while_it_ends(tmp_path: Path, api_of: Any) -> None:
    served = Served(tmp_path / "r", api_of, stop_timeout="1d")
    try:
        served.process.terminate()
        until(lambda: served.ready() == 0)
        assert served.process.poll() is None
        served.pushing.sendall(b"x" * 100_000)
        assert served.pushing.recv(12) == b"HTTP/1.1 202"
        assert served.process.wait(DEADLINE) == 0
    finally:
        served.end()


def test_a_second_signal_ends_it_at_once(tmp_path: Path, api_of: Any) -> None:
    served = Served(tmp_path / "r", api_of, stop_timeout="1d")
    try:
        served.process.terminate()
        until(lambda: served.ready() == 0)
        served.process.terminate()
        assert served.process.wait(DEADLINE) == 0
    finally:
        served.end()


def test_one_with_nothing_to_do_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not cut off after its time: shut down too early, its socket kept it accepting for ever."""
    cut: list[bool] = []
    with RunningServer(str(tmp_path / "registry")) as running:
        monkeypatch.setattr(running.registry, "interrupt", lambda: cut.append(True))
    assert len(cut) == 1  # when it was closed
