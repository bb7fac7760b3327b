"""A new version of a layer in which one file changed, over the wire, byte for byte counted."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILES, SIZE = 60, 1 << 20

only_docker = pytest.mark.parametrize("registry", ["docker"], indirect=True)


class Meter:
    """A line to a server that counts what comes from it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target, self.count = (host, int(port)), 0
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        with near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=self._carry, args=(far, near, True), daemon=True)
            back.start()
            self._carry(near, far, False)
            back.join()

    def _carry(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counts:
                    with self._lock:
                        self.count += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def meter(registry: str) -> Iterator[Meter]:
    line = Meter(registry)
    yield line
    line.close()


def layer(files: dict[str, bytes], path: Path) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def test_one_changed_file_of_a_layer_is_two_percent_of_it_at_most(
    nacre: Any, registry: str, meter: Meter, tmp_path: Path
) -> None:
    files = {f"opt/part{n}/data": os.urandom(SIZE) for n in range(FILES)}
    name, seen = f"{registry}/partial", f"{meter.host}/partial"
    for tag in ("1", "2"):
        nacre("import", layer(files, tmp_path / f"{tag}.tar"), f"{name}:{tag}")
        nacre("push", "--compression", "zstd:chunked", f"{name}:{tag}")
        files["opt/part7/data"] = b"another " * 1000 + os.urandom(SIZE // 2)

    second = type(nacre)(nacre.root / "second", tmp_path)
    second.env["NACRE_LAYER_BLOBS"] = "auto"
    second("pull", f"{seen}:1")
    before = meter.count
    assert before > FILES * SIZE
    pulled = second("pull", f"{seen}:2")
    assert meter.count - before < FILES * SIZE * 0.02
    assert "Pull complete, " in pulled.err
    assert " fetched" in pulled.err
    again = nacre("push", "--compression", "zstd:chunked", f"{name}:2")
    assert "Layer already exists" in again.err
    assert "Sent 0B" in again.err


@only_docker
@pytest.mark.parametrize("codec", ["gzip", "zstd", "zstd:chunked", "none"])
def test_the_same_files_in_every_compression(nacre: Any, registry: str, tmp_path: Path, codec: str) -> None:
    files = {f"dir/f{n}": b"%d " % n * 3000 for n in range(30)}
    name = f"{registry}/packed-{codec.replace(':', '-')}:1"
    nacre("import", layer(files, tmp_path / "files.tar"), name)
    level = {"none": (), "gzip": ("--compression-level=9",)}.get(codec, ("--compression-level=1",))
    first = nacre("push", "--compression", codec, *level, name)
    assert "give a manifest that differs from the one in the store" in first.err
    assert nacre("push", "--compression-format", codec, name).out != ""
    second = type(nacre)(nacre.root / "second", tmp_path)
    second("pull", name)
    [there], [here] = second("inspect", name).json, nacre("inspect", name).json
    assert there["RootFS"] == here["RootFS"]
    assert there["Id"] == here["Id"]


@only_docker
def test_what_is_in_the_form_already_stays(nacre: Any, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/stays:1"
    nacre("import", layer({"file": b"content" * 1000}, tmp_path / "files.tar"), name)
    first, second = nacre("push", name), nacre("push", "--compression", "gzip", name)
    assert first.out == second.out
    third = nacre("push", "--compression", "gzip", "--force-compression", name)
    assert third.out == first.out
    assert nacre("push", "--compression", "gzip", "--compression-level", "9", name).out != first.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--compression-level", "3"), "need --compression"),
        (("--force-compression",), "need --compression"),
        (("--compression", "gzip", "--compression-level", "12"), "no compression level 12"),
        (("--compression", "rar"), "rar"),
    ],
)
def test_options_that_make_no_sense(nacre: Any, words: tuple[str, ...], message: str) -> None:
    refused = nacre("push", *words, "127.0.0.1:1/x:1", check=False)
    assert refused.code in (1, 125)
    assert message in refused.err
