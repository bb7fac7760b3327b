"""`docker-daemon:` against a dockerd of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import Peer


def _socket(docker: Peer) -> str:
    return docker.words[docker.words.index("--host") + 1]


def test_out_of_a_daemon_and_into_it(
    nacre: Any, busybox_tar: bytes, registry: str, tmp_path: Path, docker: Peer, skopeo: Peer
) -> None:
    (tmp_path / "root.tar").write_bytes(busybox_tar)
    docker("import", "--change", "ENV PATH=/bin", str(tmp_path / "root.tar"), "from-docker:1")
    host = _socket(docker)
    nacre("copy", "docker-daemon:from-docker:1", f"{registry}/from/daemon:1", DOCKER_HOST=host)
    raw = skopeo.json("inspect", "--raw", "--tls-verify=false", f"docker://{registry}/from/daemon:1")
    assert all(layer["mediaType"].endswith("gzip") for layer in raw["layers"])  # type: ignore[index,call-overload]
    nacre("copy", "docker-daemon:from-docker:1", "nacre:here:1", DOCKER_HOST=host)
    assert nacre("run", "--rm", "here:1", "echo", "here").out == "here\n"
    nacre("copy", f"docker://{registry}/from/daemon:1", "docker-daemon:back:2", DOCKER_HOST=host)
    assert docker("run", "--rm", "--network", "none", "back:2", "echo", "back") == "back\n"
    ids = {docker("image", "inspect", "-f", "{{.Id}}", name) for name in ("from-docker:1", "back:2")}
    assert len(ids) == 1


def test_what_a_daemon_refuses(nacre: Any, docker: Peer, tmp_path: Path) -> None:
    host = _socket(docker)
    done = nacre("copy", "docker-daemon:never/seen:1", "oci:x:1", check=False, DOCKER_HOST=host)
    assert (done.code, "has no image never/seen:1" in done.err) == (1, True), done
    for wrong, said in (("ssh://somewhere", "is not supported"), ("nonsense", "invalid DOCKER_HOST")):
        done = nacre("copy", "docker-daemon:x", "oci:x:1", check=False, DOCKER_HOST=wrong)
        assert said in done.err
