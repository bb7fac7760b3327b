"""The page of a registry, asked without a socket and without a browser."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import io
import json
import re
import tarfile
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

from nacre.services.server import Registry
from nacre.stores.registry import RegistryStore
from nacre.words.oci import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST

FORM = "application/x-www-form-urlencoded"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(data: bytes, media_type: str, **extra: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)} | extra


def tar_of(files: dict[str, bytes | str | None]) -> bytes:
    """A layer: bytes are files, a text is where a link leads, None is a folder."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            elif content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return raw.getvalue()


class Publisher:
    """Pushes images; what it asks is the registry's protocol."""

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> SimpleNamespace:
        raise NotImplementedError

    def blob(self, name: str, data: bytes) -> bytes:
        answer = self("POST", f"/v2/{name}/blobs/uploads/?digest={digest_of(data)}", data)
        assert answer.status == 201, answer.text
        return data

    def put(self, name: str, reference: str, document: dict[str, Any]) -> str:
        data = json.dumps(document).encode()
        answer = self(
            "PUT",
            f"/v2/{name}/manifests/{reference or digest_of(data)}",
            data,
            content_type=document["mediaType"],
        )
        assert answer.status == 201, answer.text
        return digest_of(data)

    def image(
        self, name: str, tag: str, layers: list[bytes], config: dict[str, Any] | None = None, **extra: Any
    ) -> SimpleNamespace:
        """An image of plain tars; gives its digest and document."""
        whole: dict[str, Any] = {"architecture": "amd64", "os": "linux", "config": {}} | (config or {})
        whole.setdefault("rootfs", {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]})
        about = self.blob(name, json.dumps(whole).encode())
        document = {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described(about, OCI_CONFIG),
            "layers": [described(self.blob(name, layer), _kind(layer)) for layer in layers], **extra,
        }  # fmt: skip
        return SimpleNamespace(digest=self.put(name, tag, document), document=document)

    def index(self, name: str, tag: str, images: dict[str, Any], **extra: Any) -> str:
        """An index of images by platform, `linux/arm64`."""
        entries = []
        for platform, image in images.items():
            system, machine = platform.split("/")
            data = json.dumps(image.document).encode()
            entries.append(described(data, OCI_MANIFEST, platform={"os": system, "architecture": machine}))
        return self.put(
            name, tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **extra}
        )


class Client(Publisher):
    """Of a registry that listens at `url`."""

    def __init__(self, url: str) -> None:
        self.url, self._address = url, urlsplit(url).netloc

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> SimpleNamespace:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, given)
            answer = connection.getresponse()
            data = answer.read()
            return SimpleNamespace(status=answer.status, text=data.decode("utf-8", "replace"), data=data)
        finally:
            connection.close()


class Site(Publisher):
    """A registry in `folder`. `with` it; every answer has `status`, `headers` (small letters) and `text`."""

    def __init__(self, folder: str, **options: Any) -> None:
        self.folder, self._options, self._runner = folder, options, asyncio.Runner()
        self.log: list[str] = []
        self.cookie = ""

    def __enter__(self) -> Site:
        self.registry = Registry(RegistryStore(self.folder), log=self.log.append, **self._options)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._runner.run(self.registry.close())
        self._runner.close()

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> SimpleNamespace:
        path, _, query = target.partition("?")
        given = {"host": "registry.example", "content-length": str(len(body))}
        given |= {"cookie": self.cookie} if self.cookie else {}
        given |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "scheme": "http",
            "query_string": query.encode(), "client": ("127.0.0.1", 1), "server": ("registry.example", 80),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        self._runner.run(self.registry(scope, receive, send))
        data = b"".join(each.get("body", b"") for each in sent[1:])
        known = [(name.decode(), value.decode("latin-1")) for name, value in sent[0]["headers"]]
        text = data.decode("utf-8", "replace")
        return SimpleNamespace(
            status=sent[0]["status"], headers=dict(known), text=text, data=data, words=words_of(text)
        )

    def get(self, target: str, **headers: str) -> SimpleNamespace:
        return self("GET", target, **headers)

    def post(self, target: str, fields: dict[str, str], **headers: str) -> SimpleNamespace:
        return self("POST", target, urlencode(fields).encode(), content_type=FORM, **headers)

    def token(self, path: str) -> str:
        """What the forms of a page must have."""
        found = re.search(r'name="token" value="([0-9a-f]*)"', self.get(path).text)
        assert found
        return found[1]


def _kind(layer: bytes) -> str:
    return OCI_LAYER_GZIP if layer.startswith(b"\x1f\x8b") else OCI_LAYER


def words_of(html: str) -> str:
    """What is read on a page, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())
