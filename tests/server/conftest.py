"""A registry on a real socket, and the smallest client that can talk to it."""

import gzip
import hashlib
import http.client
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path += [str(Path(__file__).parents[1] / room) for room in ("client", "crash")]

from forked import forked_nacre, untuned_zygote  # noqa: F401 - they are fixtures

from nacre.services.server import RegistryLimits, RunningServer
from nacre.stores.catalog import Catalog, SqliteDatabase
from nacre.stores.storage.local import FolderContents
from nacre.words.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from nacre.words.rules import RegistryRules

TIMEOUT = 20


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code; proves on the way that an error is the protocol's JSON."""
        assert self.headers["Content-Type"] == "application/json", self.body
        return str(self.json["errors"][0]["code"])


class Api:
    """Requests to one registry, with `headers`; a path is given without `/v2/`, a Location as it came."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url, self.address, self.headers = url, urlsplit(url).netloc, headers

    def __call__(
        self, method: str, path: str, body: Any = None, chunked: bool = False, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        try:
            target = path if path.startswith("/") else "/v2/" + path
            names = {name.replace("_", "-"): value for name, value in (self.headers | headers).items()}
            connection.request(method, target, body, names, encode_chunked=chunked)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def push_blob(self, name: str, data: bytes) -> str:
        digest = digest_of(data)
        assert self("POST", f"{name}/blobs/uploads/?digest={digest}", data).status == 201
        return digest

    def begin(self, name: str) -> str:
        answer = self("POST", f"{name}/blobs/uploads/")
        assert answer.status == 202
        return str(answer.headers["Location"])

    def put_manifest(
        self, name: str, reference: str, document: Any, media_type: str = OCI_MANIFEST
    ) -> Answer:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self("PUT", f"{name}/manifests/{reference}", data, Content_Type=media_type)

    def push_image(self, name: str, tag: str, content: bytes = b"content", **extra: Any) -> SimpleNamespace:
        layer, config = layer_of(content), config_of(content)
        for blob in (layer, config):
            self.push_blob(name, blob)
        data = json.dumps(manifest_of(config, [layer]) | extra).encode()
        answer = self.put_manifest(name, tag, data)
        assert answer.status == 201, answer.body
        return SimpleNamespace(digest=digest_of(data), data=data, config=config, layer=layer, answer=answer)


def layer_of(content: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), 1, mtime=0)


def config_of(content: bytes) -> bytes:
    diff_id = digest_of(gzip.decompress(layer_of(content)))
    rootfs = {"type": "layers", "diff_ids": [diff_id]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()


def descriptor(data: bytes, media_type: str, **extra: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)} | extra


def manifest_of(config: bytes, layers: list[bytes]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG),
        "layers": [descriptor(layer, OCI_LAYER_GZIP) for layer in layers],
    }


def index_of(*children: tuple[bytes, str]) -> dict[str, Any]:
    manifests = [descriptor(data, media_type) for data, media_type in children]
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}


@pytest.fixture
def make() -> SimpleNamespace:
    """What tests make documents with."""
    return SimpleNamespace(
        digest=digest_of, layer=layer_of, config=config_of, descriptor=descriptor, manifest=manifest_of,
        index=index_of,
    )  # fmt: skip


@pytest.fixture
def limits() -> RegistryLimits:
    """Override it to serve with others."""
    return RegistryLimits()


@pytest.fixture
def rules() -> RegistryRules:
    """Override it to serve by others."""
    return RegistryRules()


@pytest.fixture
def log() -> list[str]:
    """What the registry said about itself; a test that ends well has it empty, unless it says otherwise."""
    return []


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Where the registry is."""
    return str(tmp_path / "registry")


@pytest.fixture
def accounts(folder: str) -> Iterator[Any]:
    """Of that registry; there is nobody yet."""
    pytest.importorskip("sqlalchemy")
    from nacre.engine.accounts import RegistryAccounts

    with RegistryAccounts(folder, "test") as found:
        yield found


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """One that nobody serves."""
    database = SqliteDatabase(str(tmp_path / "registry.db"))
    with closing(Catalog(database, FolderContents(lambda digest: None))) as made:
        yield made


@pytest.fixture
def serving(
    folder: str, limits: RegistryLimits, rules: RegistryRules, log: list[str]
) -> Iterator[RunningServer]:
    with RunningServer(folder, rules=rules.replace(limits=limits), log=log.append) as running:
        yield running
    assert log == []


@pytest.fixture
def api(serving: RunningServer) -> Api:
    return Api(serving.url)


@pytest.fixture
def api_of() -> type[Api]:
    return Api
