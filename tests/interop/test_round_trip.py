"""Images travel between nacre and the other tools and stay what they are."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Peer
from .layouts import Layer, write_layout

_LIMITS = ("--network", "none", "--cgroups", "disabled")


@pytest.fixture
def second(nacre: Any, tmp_path: Path) -> Iterator[Any]:
    """The command line with another empty store."""
    other = type(nacre)(tmp_path / "second", tmp_path)
    yield other
    other("system", "prune", "-a", "-f", check=False)


def manifest_digest(nacre: Any, name: str) -> str:
    [image] = nacre("image", "inspect", name).json
    [digest] = {entry.partition("@")[2] for entry in image["RepoDigests"]}
    return str(digest)


def build(nacre: Any, folder: Path, base: str, name: str) -> None:
    """A small image with a few layers: files, a whiteout, metadata."""
    context = folder / "context"
    context.mkdir(exist_ok=True)
    (context / "hello").write_text("hello\n")
    (context / "Dockerfile").write_text(
        f"FROM {base}\nCOPY hello /srv/hello\nRUN rm /etc/group && mkdir -m 700 /made && echo x > /made/x\n"
        'ENV GREETING=hi\nWORKDIR /srv\nENTRYPOINT ["cat"]\nCMD ["hello"]\n'
    )
    nacre("build", "-t", name, str(context))


def test_digest_survives_every_tool(
    nacre: Any, second: Any, busybox_image: str, registry: str, tmp_path: Path, skopeo: Peer, podman: Peer
) -> None:
    name = f"{registry}/team/app:1"
    build(nacre, tmp_path, busybox_image, name)
    nacre("push", name)
    digest = manifest_digest(nacre, name)
    copy = f"{registry}/team/copy:1"
    skopeo(
        "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{name}", f"docker://{copy}"
    )
    inspected = skopeo.json("inspect", "--tls-verify=false", f"docker://{copy}")
    assert isinstance(inspected, dict)
    assert inspected["Digest"] == digest
    podman("pull", "--tls-verify=false", copy)
    [seen] = podman.json("image", "inspect", copy)  # type: ignore[misc]
    assert seen["Digest"] == digest
    second("pull", copy)
    assert manifest_digest(second, copy) == digest


def test_podman_and_docker_run_it(
    nacre: Any, busybox_image: str, registry: str, tmp_path: Path, podman: Peer, docker: Peer
) -> None:
    name = f"{registry}/team/app:1"
    build(nacre, tmp_path, busybox_image, name)
    nacre("push", name)
    podman("pull", "--tls-verify=false", name)
    assert podman("run", "--rm", *_LIMITS, name) == "hello\n"
    docker("pull", name)
    assert docker("run", "--rm", "--network", "none", name) == "hello\n"
    seen = docker("run", "--rm", "--network", "none", "--entrypoint", "ls", name, "/etc").split()
    assert "passwd" in seen
    assert "group" not in seen


def test_a_link_that_only_a_lower_layer_has(
    nacre: Any, busybox_tar: bytes, registry: str, tmp_path: Path, podman: Peer, docker: Peer
) -> None:
    """An entry beneath it, whose folder its own layer does not list: a folder takes the place of the link."""
    link = Layer().folder("run").add("run/old").folder("var").add("var/run", tarfile.SYMTYPE, linkname="/run")
    write_layout(tmp_path / "layout", [busybox_tar, link.bytes(), Layer().add("var/run/new").bytes()])
    name = f"{registry}/lower/link:1"
    nacre("copy", f"oci:{tmp_path / 'layout'}:test", f"docker://{name}")
    nacre("pull", name)
    podman("pull", "--tls-verify=false", name)
    docker("pull", name)
    look = (name, "sh", "-c", "test -L /var/run && echo link; ls /var/run; test -e /run/new && echo through")
    seen = nacre("run", "--rm", *look, check=False).out
    assert seen == podman("run", "--rm", *_LIMITS, *look, check=False)
    assert seen == docker("run", "--rm", "--network", "none", *look, check=False)
    assert seen == "new\n"


def test_pull_takes_what_docker_pushed(
    nacre: Any, busybox_tar: bytes, registry: str, tmp_path: Path, docker: Peer
) -> None:
    (tmp_path / "root.tar").write_bytes(busybox_tar)
    name = f"{registry}/from/docker:1"
    docker("import", "--change", "ENV PATH=/bin", str(tmp_path / "root.tar"), name)
    docker("push", name)
    nacre("pull", name)
    assert nacre("run", "--rm", name, "echo", "pulled").out == "pulled\n"


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_pull_takes_what_podman_pushed(
    nacre: Any, busybox_tar: bytes, registry: str, tmp_path: Path, podman: Peer, form: str
) -> None:
    (tmp_path / "root.tar").write_bytes(busybox_tar)
    name = f"{registry}/from/podman:{form}"
    podman("import", "--change", "ENV PATH=/bin", str(tmp_path / "root.tar"), name)
    podman("push", "--tls-verify=false", "--format", form, name)
    nacre("pull", name)
    assert nacre("run", "--rm", name, "echo", "pulled").out == "pulled\n"


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_pull_takes_what_skopeo_copied(
    nacre: Any, second: Any, busybox_image: str, registry: str, tmp_path: Path, skopeo: Peer, codec: str
) -> None:
    build(nacre, tmp_path, busybox_image, "app:1")
    (tmp_path / "app.tar").write_bytes(nacre("save", "app:1").raw)
    name = f"{registry}/from/skopeo:{codec}"
    recompress = ("--dest-compress-format", codec, "--dest-compress", "--format", "oci")
    skopeo("copy", f"docker-archive:{tmp_path}/app.tar", f"dir:{tmp_path}/plain")
    skopeo("copy", "--dest-tls-verify=false", *recompress, f"dir:{tmp_path}/plain", f"docker://{name}")
    second("pull", name)
    assert second("run", "--rm", name).out == "hello\n"


def test_pull_chooses_from_an_index(nacre: Any, registry: str, tmp_path: Path, podman: Peer) -> None:
    index = f"many:{registry.rpartition(':')[2]}"
    for number, architecture in enumerate(("s390x", "amd64", "arm64")):
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\nCOPY Dockerfile /\nENV NUMBER={number}\n")
        name = f"{registry}/many:{architecture}"
        nacre(
            "build",
            "--platform",
            f"linux/{architecture}",
            "-t",
            name,
            "-f",
            str(tmp_path / "Dockerfile"),
            str(tmp_path),
        )
        nacre("push", name)
        podman("manifest", "create", index, check=False) if number == 0 else None
        podman("manifest", "add", "--tls-verify=false", "--arch", architecture, index, f"docker://{name}")
    podman("manifest", "push", "--tls-verify=false", "--all", index, f"docker://{registry}/many:all")
    nacre("pull", "--platform", "linux/arm64", f"{registry}/many:all")
    [image] = nacre("image", "inspect", f"{registry}/many:all").json
    assert image["Architecture"] == "arm64"
    failed = nacre("pull", "--platform", "linux/riscv64", f"{registry}/many:all", check=False)
    assert failed.code == 1
    assert "linux/s390x" in failed.err


def test_layers_move_once(nacre: Any, second: Any, busybox_image: str, registry: str, tmp_path: Path) -> None:
    build(nacre, tmp_path, busybox_image, f"{registry}/team/app:1")
    first = nacre("push", f"{registry}/team/app:1")
    assert "Pushed" in first.out + first.err
    nacre("tag", f"{registry}/team/app:1", f"{registry}/team/app:2")
    again = nacre("push", f"{registry}/team/app:2")
    assert "Pushed" not in again.out + again.err
    assert "already exists" in again.out + again.err
    nacre("tag", f"{registry}/team/app:1", f"{registry}/other/app:1")
    across = nacre("push", f"{registry}/other/app:1")
    assert "Mounted from" in across.out + across.err
    second("pull", f"{registry}/team/app:1")
    reused = second("pull", f"{registry}/team/app:2")
    assert "Pull complete" not in reused.out + reused.err


def test_saved_archive_is_read_by_all(
    nacre: Any, busybox_image: str, tmp_path: Path, docker: Peer, podman: Peer, skopeo: Peer
) -> None:
    build(nacre, tmp_path, busybox_image, "app:1")
    path = tmp_path / "app.tar"
    nacre("save", "-o", str(path), "app:1")
    docker("load", "-i", str(path))
    assert docker("run", "--rm", "--network", "none", "app:1") == "hello\n"
    podman("load", "-i", str(path))
    assert podman("run", "--rm", *_LIMITS, "docker.io/library/app:1") == "hello\n"
    manifest = json.loads(skopeo("inspect", "--raw", f"docker-archive:{path}"))
    assert len(manifest["layers"]) == 3
