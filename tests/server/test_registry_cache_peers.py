"""A registry that fetches from others: with accounts, and with the clients that people have."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from registries import registry_process

from nacre.engine import Engine
from nacre.engine.upstreams import upstreams_of
from nacre.engine.wiring import Config, Wiring
from nacre.grammars.config.toml import parse_config
from nacre.services.client import Client, ClientConfig
from nacre.services.server import RunningServer
from nacre.words.oci import OCI_MANIFEST, Descriptor
from nacre.words.reference import Reference
from nacre.words.upstreams import UpstreamRules

DEADLINE = 60


@pytest.fixture
def upstream(serving: RunningServer, api: Any) -> SimpleNamespace:
    """A registry of ours with one image; what `docker.io` is behind the one that is tested."""
    return api.push_image("library/app", "1", b"x" * 300_000)


@pytest.fixture
def front(tmp_path: Path, api: Any, upstream: Any, api_of: Any) -> Iterator[Any]:
    """What speaks to a registry that fetches from `upstream`."""
    with front_of(tmp_path, api.address) as running:
        yield api_of(running.url)


def front_of(root: Path, host: str) -> RunningServer:
    rules = UpstreamRules("docker.io", f"http://{host}", unprefixed=True)
    upstreams = upstreams_of((rules,), Wiring(Config(str(root / "store"))))
    return RunningServer(str(root / "front"), upstreams=upstreams)


def test_nacre_takes_it_for_a_mirror(front: Any, upstream: SimpleNamespace, api: Any) -> None:
    settings = parse_config(f'[registry."docker.io"]\nmirrors = ["http://{front.address}/docker.io"]', "x")
    with Client(ClientConfig(settings=settings)) as client:
        reference = Reference.parse("app:1")
        repository = client.repository(reference)
        _, data = repository.resolve(reference)
        assert data == upstream.data
    assert front("GET", "_catalog").json["repositories"] == ["docker.io/library/app"]


def test_podman_takes_it_for_a_mirror(
    front: Any, upstream: SimpleNamespace, peer: Any, tmp_path: Path
) -> None:
    """skopeo reads registries.conf with the same library as podman."""
    peer("skopeo")
    (tmp_path / "registries.conf").write_text(
        '[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\n'
        f'location = "{front.address}/docker.io"\ninsecure = true\n'
    )
    run(
        "skopeo", "--insecure-policy", "--registries-conf", str(tmp_path / "registries.conf"), "--tmpdir",
        str(tmp_path), "copy", "docker://docker.io/library/app:1", f"dir:{tmp_path}/out",
    )  # fmt: skip
    assert json.loads((tmp_path / "out/manifest.json").read_bytes()) == json.loads(upstream.data)


def test_skopeo_takes_it_by_its_own_name(
    front: Any, upstream: SimpleNamespace, peer: Any, tmp_path: Path
) -> None:
    peer("skopeo")
    place = f"docker://{front.address}/docker.io/library/app"
    quiet = ("--tmpdir", str(tmp_path))
    run("skopeo", "--insecure-policy", *quiet, "copy", "--src-tls-verify=false", f"{place}:1",
        f"dir:{tmp_path}/out")  # fmt: skip
    listed = run("skopeo", *quiet, "list-tags", "--tls-verify=false", place)
    assert json.loads(listed)["Tags"] == ["1"]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[str]:
    yield from registry_process(tmp_path)


@pytest.fixture
def theirs(docker_registry: str, api: Any) -> SimpleNamespace:
    """An image that docker's registry has."""
    image = api.push_image("app", "1", b"theirs")
    with Client() as client:
        source, target = (
            Reference.parse(f"{host}/{name}:1")
            for host, name in ((api.address, "app"), (docker_registry, "library/app"))
        )
        taken, put = client.repository(source), client.repository(target)
        for blob in (image.config, image.layer):
            put.put(Descriptor.of(blob, "x"), partial(io.BytesIO, blob))
        put.put_manifest("1", taken.resolve(source)[1], OCI_MANIFEST)
    return image  # type: ignore[no-any-return]


def test_docker_registry_is_an_upstream(
    docker_registry: str, theirs: SimpleNamespace, tmp_path: Path, api_of: Any, make: Any
) -> None:
    image = theirs
    with front_of(tmp_path, docker_registry) as running:
        front = api_of(running.url)
        assert front("GET", "library/app/manifests/1").body == image.data
        blob = front("GET", f"docker.io/library/app/blobs/{make.digest(image.layer)}")
        assert blob.body == image.layer
        assert front("GET", "docker.io/library/app/tags/list").json["tags"] == ["1"]


def test_docker_registry_is_taken_over(
    theirs: SimpleNamespace, tmp_path: Path, api_of: Any, make: Any
) -> None:
    with Engine(Config(str(tmp_path / "store"))) as engine:
        report = engine.registries.import_storage(str(tmp_path / "data"), str(tmp_path / "ours"))
    assert (report.repositories, report.manifests, report.tags, report.failed) == (1, 1, 1, ())
    with RunningServer(str(tmp_path / "ours")) as running:
        ours = api_of(running.url)
        assert ours("GET", "library/app/manifests/1").body == theirs.data
        assert ours("GET", f"library/app/blobs/{make.digest(theirs.layer)}").body == theirs.layer


def test_grants_hold_for_copies(front: Any, upstream: SimpleNamespace, tmp_path: Path, make: Any) -> None:
    """However a copy is named, whoever may not read it gets nothing of it."""
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    from nacre.services.server.access.passwords import encoded
    from nacre.stores.accounts.administration import Administration
    from nacre.stores.accounts.model import Role

    with Administration(str(tmp_path / "front/registry.db"), "test") as accounts:
        accounts.users.add("root", encoded("secret words"), administrator=True)
        for name in ("reader", "stranger"):
            accounts.users.add(name, encoded("secret words"))
        accounts.rights.grant("docker.io/library", Role.READ, user="reader")
    deadline = time.monotonic() + DEADLINE
    while front("GET", "").status != 401:
        assert time.monotonic() < deadline
    for path in ("docker.io/library/app/{}", "library/app/{}?ns=docker.io", "library/app/{}"):
        for what in ("manifests/1", f"blobs/{make.digest(upstream.layer)}"):
            target = path.format(what)
            assert front("GET", target, **basic("reader")).status == 200, target
            assert front("GET", target, **basic("stranger")).status == 403, target
            assert front("GET", target).status == 401, target


def basic(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:secret words".encode()).decode()}
