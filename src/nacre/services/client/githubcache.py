"""GitHub's cache service, version 2, as a `Source` and a `Sink` of `images.model.source`.

    POST {url}/twirp/github.actions.results.api.v1.CacheService/METHOD       JSON, `Authorization: Bearer`
      CreateCacheEntry            key, version              → signed_upload_url
      FinalizeCacheEntryUpload    key, version, size_bytes  → ok
      GetCacheEntryDownloadURL    key, version, restore_keys → signed_download_url, matched_key
    PUT signed_upload_url         the rules of Azure's block blobs

An entry cannot be changed. A blob is one by its digest; a manifest is one with a new name each time, and the
newest whose name begins with that of the scope is the one that counts. Which branches see an entry is the
service's affair. Sources: actions/toolkit, packages/cache; Azure's Put Blob, Put Block, Put Block List.
"""

from __future__ import annotations

import io
import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ...grammars.wire.links import check_downgrade
from ...words.digest import Digest
from ...words.errors import InvalidDocument, NotFound, RegistryError, TooLarge
from ...words.oci import DOCUMENT_TYPES, MAX_DOCUMENT, Descriptor, decode_json, parse_document
from .download import BlobReader
from .session import SUCCESS, Session
from .transport import Request, Response

if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...images.model.source import Content
    from ...words.reference import Reference

_SERVICE = "/twirp/github.actions.results.api.v1.CacheService/"
_VERSION = sha256(b"nacre build cache 1").hexdigest()
"""Entries of other versions are never found: it stands for the form of what is kept."""
BLOCK = 16 << 20
"""Bytes that are sent, and held, at once."""
_MAX_ANSWER = 64 << 10
_EXISTS = 409


class GitHubCache:
    """The cache of one scope. Safe for threads; nothing to close.

    `sessions` gives what speaks to the host of a URL.
    """

    fork_safe = False
    where = "GitHub's cache"

    def __init__(self, sessions: Callable[[str], Session], url: str, token: str, scope: str) -> None:
        self._sessions, self._url, self._token = sessions, url.rstrip("/"), token
        self._manifests = f"nacre-manifest-1-{scope}#"
        self._service = sessions(url)

    def forked(self) -> None:
        """Drop the parent's connections, in a forked child."""
        self._service.forked()

    def _call(self, method: str, **fields: Any) -> dict[str, Any]:
        """One call of the service. Raises RegistryError, Unreachable."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        body = json.dumps({**fields, "version": _VERSION}).encode()
        request = Request("POST", f"{self._url}{_SERVICE}{method}", headers, body)
        with self._service.open(request, f"{method} of {self.where}") as response:
            answer = decode_json(response.read_all(_MAX_ANSWER, self.where), self.where)
        if not isinstance(answer, dict):
            raise InvalidDocument(f"{self.where} sent an unknown answer to {method}")
        return answer

    def _link(self, answer: dict[str, Any], name: str) -> str:
        """A signed URL, "" where there is no entry."""
        url = answer.get(name) if answer.get("ok") else ""
        if not isinstance(url, str):
            raise InvalidDocument(f"{self.where} sent no text as {name}")
        return check_downgrade(self._url, url) if url else ""

    def _found(self, key: str, *prefixes: str) -> str:
        answer = self._call("GetCacheEntryDownloadURL", key=key, restore_keys=list(prefixes))
        return self._link(answer, "signed_download_url")

    # Source

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """The newest manifest of the scope, whatever `reference` says. Raises NotFound, RegistryError."""
        return self._newest()

    def _newest(self) -> tuple[Descriptor, bytes]:
        url = self._found(self._manifests, self._manifests)
        if not url:
            raise NotFound(f"{self.where} has no cache of this scope")
        request = Request("GET", url)
        with self._sessions(url).open(request, f"the manifest in {self.where}") as response:
            data = response.read_all(MAX_DOCUMENT, "manifest")
        return Descriptor.of(data, parse_document(data).media_type), data

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """A blob from `offset` on; the caller verifies it. Raises NotFound, RegistryError."""
        what = f"blob {descriptor.digest} of {self.where}"
        url = self._found(_key(descriptor))
        if not url:
            raise NotFound(f"{what} is not there")
        session = self._sessions(url)

        def connect(headers: dict[str, str]) -> Response:
            return session.once(Request("GET", url, headers), what, ok=(200, 206))

        reader = BlobReader(connect, what, descriptor.size, offset, session.retry())
        reader.open()
        return closing(reader)

    # Sink

    def has(self, descriptor: Descriptor) -> bool:
        """Whether there is an entry for it; that also keeps the service from dropping it soon."""
        return bool(self._found(_key(descriptor)))

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """There are no repositories here."""
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Upload a blob, unless somebody else does so now. Raises RegistryError."""
        self._upload(_key(descriptor), descriptor.size, opener)

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """A new entry of the scope, unless the newest says the same already."""
        if media_type not in DOCUMENT_TYPES:
            raise InvalidDocument(f"{media_type} is no type of a manifest")
        with suppress(NotFound):  # the scope has no entry yet
            if self._newest()[0].digest == Digest.of(data):
                return
        self._upload(f"{self._manifests}{time.time_ns():x}", len(data), lambda: io.BytesIO(data))

    def _upload(self, key: str, size: int, opener: Callable[[], Content]) -> None:
        try:
            url = self._link(self._call("CreateCacheEntry", key=key), "signed_upload_url")
        except RegistryError as error:
            if error.status == _EXISTS:
                return
            raise
        if not url:
            raise RegistryError(f"{self.where} refuses a new entry")
        with opener() as content:
            self._send(url, content, size)
        done = self._call("FinalizeCacheEntryUpload", key=key, size_bytes=str(size))
        if not done.get("ok"):
            raise RegistryError(f"{self.where} has not taken {key}")

    def _send(self, url: str, content: Content, size: int) -> None:
        """All of it at once, or in blocks that a last request puts together."""
        session = self._sessions(url)
        if size <= BLOCK:
            self._put(session, url, _whole(content, size), {"x-ms-blob-type": "BlockBlob"})
            return
        names: list[str] = []
        join = "&" if "?" in url else "?"
        for at in range(0, size, BLOCK):
            names.append(b64encode(b"%016d" % len(names)).decode())
            block = _whole(content, min(BLOCK, size - at))
            self._put(session, f"{url}{join}comp=block&blockid={names[-1].replace('=', '%3D')}", block, {})
        items = "".join(f"<Latest>{name}</Latest>" for name in names)
        listed = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{items}</BlockList>'
        self._put(session, f"{url}{join}comp=blocklist", listed.encode(), {"Content-Type": "text/xml"})

    def _put(self, session: Session, url: str, data: bytes, headers: dict[str, str]) -> None:
        request = Request("PUT", url, headers, data)
        session.open(request, f"an entry of {self.where}", ok=SUCCESS).close()


def _key(descriptor: Descriptor) -> str:
    return f"nacre-blob-1-{descriptor.digest}"


def _whole(content: Content, size: int) -> bytes:
    """The next `size` bytes. Raises TooLarge where they end before."""
    parts, left = [], size
    while left:
        data = content.read(min(left, 1 << 20))
        if not data:
            raise TooLarge(f"{size} bytes were announced, {left} of them are missing")
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
