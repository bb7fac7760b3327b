"""Against docker's registry: a password, a line that is cut in the middle, and what skopeo wrote."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract import descriptor, image, put
from registries import registry_process

from nacre.grammars.wire.auth import Credentials
from nacre.services.client import Client, Policy, TransportLimits
from nacre.words.errors import Unauthorized
from nacre.words.oci import INDEX_TYPES, OCI_MANIFEST, parse_document
from nacre.words.reference import Reference

PASSWORD_FILE = "me:$2y$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.\n"


class Cutter:
    """A line to a server that is cut once, after `up` bytes sent or `down` bytes received."""

    def __init__(self, target: str, *, up: int = 1 << 62, down: int = 1 << 62) -> None:
        host, _, port = target.partition(":")
        self._target, self._limits = (host, int(port)), {"up": up, "down": down}
        self._server = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # or its thread would wait for ever
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        """Carry bytes both ways until one side ends or the line is cut; then both ends are closed."""
        with near, socket.create_connection(self._target) as far:
            back = threading.Thread(target=self._carry, args=("down", far, near), daemon=True)
            back.start()
            self._carry("up", near, far)
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    def _carry(self, name: str, source: socket.socket, sink: socket.socket) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                count += len(data)
                if count > self._limits[name]:
                    self._limits[name] = 1 << 62
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect(limits=TransportLimits())


@pytest.fixture(params=["docker_registry", "nacre_registry"])
def far(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


DATA = os.urandom(20_000_000)


@pytest.mark.parametrize("cut", [{"up": 9_000_000}, {"down": 9_000_000}])
def test_a_line_that_is_cut(far: str, connect: Callable[..., Client], cut: dict[str, int]) -> None:
    client = connect(limits=TransportLimits(), policy=Policy(base=0.05))
    line = Cutter(far, **cut)
    try:
        repository = client.repository(Reference.parse(f"{line.host}/cut{os.urandom(4).hex()}"))
        put(repository, DATA)
        with repository.fetch(descriptor(DATA)) as reader:
            assert reader.read(-1) == DATA
        assert line.cuts == 1
    finally:
        line.close()


def test_a_push_that_is_killed_goes_on(nacre: Any, busybox_image: str, nacre_registry: str) -> None:
    """kill -9 in the middle of a layer: the next push sends what the registry does not have."""
    name = f"{nacre_registry}/killed:1"
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        info = tarfile.TarInfo("noise")
        info.size = len(DATA)
        tar.addfile(info, io.BytesIO(DATA))
    nacre("import", "-", name, input=root.getvalue())
    nacre.env["NACRE_RATE"] = "4MB"
    process = nacre.start("push", "--progress", "json", name)
    for line in process.stdout:
        if json.loads(line).get("progressDetail", {}).get("current", 0) > 3_000_000:
            break
    process.kill()
    process.communicate()
    del nacre.env["NACRE_RATE"]
    events = [json.loads(line) for line in nacre("push", "--progress", "json", name).lines]
    sent = max(event["progressDetail"]["current"] for event in events if "progressDetail" in event)
    assert sent < len(DATA) - 1_000_000
    assert events[-1]["aux"]["Tag"] == "1"
    assert list((nacre.root / "uploads").iterdir()) == []
    nacre("--root", str(nacre.root / "second"), "pull", "-q", name)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("locked")
    (folder / "htpasswd").write_text(PASSWORD_FILE)
    yield from registry_process(folder, f'auth: {{htpasswd: {{realm: r, path: "{folder / "htpasswd"}"}}}}')


def test_a_password(locked: str, connect: Callable[..., Client]) -> None:
    reference = Reference.parse(f"{locked}/app")
    repository = connect(credentials=lambda _name: Credentials("me", "hunter2")).repository(reference)
    data = image(repository, b"layer")
    repository.put_manifest("latest", data, OCI_MANIFEST)
    assert repository.resolve(reference)[1] == data


@pytest.mark.parametrize("credentials", [None, Credentials("me", "wrong")])
def test_no_password(locked: str, connect: Callable[..., Client], credentials: Credentials | None) -> None:
    reference = Reference.parse(f"{locked}/app")
    repository = connect(credentials=lambda _name: credentials).repository(reference)
    with pytest.raises(Unauthorized) as caught:
        repository.resolve(reference)
    assert f"nacre login {locked}" in caught.value.hint
    with pytest.raises(Unauthorized):
        repository.put(descriptor(DATA), lambda: io.BytesIO(DATA))


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_wrote(
    far: str, client: Client, peer: Callable[..., None], tmp_path: Path, form: str
) -> None:
    peer("skopeo")
    source = client.repository(Reference.parse(f"{far}/skopeo/source"))
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    config_data = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
        "config": put(source, config_data, "application/vnd.oci.image.config.v1+json").to_json(),
    }  # fmt: skip
    data = json.dumps(manifest).encode()
    source.put_manifest("latest", data, OCI_MANIFEST)
    command = [
        "skopeo",
        "copy",
        "-q",
        "--insecure-policy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ]
    subprocess.run(
        [*command, "--format", form, f"docker://{far}/skopeo/source", f"docker://{far}/skopeo/{form}"],
        check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    reference = Reference.parse(f"{far}/skopeo/{form}")
    found, copied = client.repository(reference).resolve(reference)
    assert parse_document(copied, found.media_type).media_type == found.media_type
    assert found.media_type not in INDEX_TYPES
    assert (copied == data) is (form == "oci")
    assert client.repository(reference).read(parse_document(copied).config) == config_data  # type: ignore[union-attr]
