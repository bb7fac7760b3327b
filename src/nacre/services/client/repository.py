"""A repository of a registry: a `Source` and a `Sink` of `images.model.source`."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

from ...grammars.wire import ACCEPT_DOCUMENTS, CONTENT_DIGEST, OCI_SUBJECT, routes
from ...grammars.wire.auth import repository_scope
from ...words.digest import Digest, Verifier
from ...words.errors import (
    DigestMismatch,
    InvalidDocument,
    InvalidName,
    NotFound,
    RegistryError,
    Unauthorized,
    Unreachable,
)
from ...words.oci import DOCUMENT_TYPES, MAX_DOCUMENT, Descriptor, decode_json, parse_document
from ...words.reference import Reference
from . import referrers
from .download import BlobReader, Connect
from .ranges import RangedReader, Ranges
from .retry import Transient
from .session import SUCCESS, WAITING, Session
from .transport import Request, Response
from .upload import Uploads

if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...images.model.source import Content
    from .uploadrecords import Kept

MAX_NAMES = 500_000
"""Names of one list: the longest lists of tags that are known have a fifth of it."""
MAX_MOUNTS = 16
_PAGE = 1000
_ACCEPT = {"Accept": ACCEPT_DOCUMENTS}


class Repository:
    """`name` at `registry`, over a session. Safe to use from many threads; nothing to close.

    Errors are those of `Source` and `Sink`; each operation retries what may pass.
    """

    def __init__(
        self, session: Session, name: str, *, where: str = "",
        elsewhere: Callable[[str], tuple[str, str]] | None = None,
        uploads: Kept | None = None, ranges: Ranges | None = None,
    ) -> None:  # fmt: skip
        """`where` is the name users know it by, if another; `elsewhere` gives host and repository for such
        a name.
        """
        self.session, self.name = session, name
        self._where, self._elsewhere, self._kept = where, elsewhere or _literally, uploads
        self._ranges = ranges or Ranges(1)
        self._pull = (repository_scope(name, "pull"),)
        self._push = (repository_scope(name, "pull", "push"),)
        self._uploads = Uploads(session, name, self._push, uploads)
        self._begun: dict[Digest, str] = {}
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """The name `registry/repository`, for messages."""
        return self._where or f"{self.session.registry}/{self.name}"

    @property
    def reading(self) -> tuple[str, ...]:
        """The scopes of a read."""
        return self._pull

    def parts(self) -> dict[str, Any]:
        """The arguments that make another one like this."""
        return {
            "session": self.session, "name": self.name, "where": self._where, "elsewhere": self._elsewhere,
            "uploads": self._kept, "ranges": self._ranges,
        }  # fmt: skip

    # Source

    @property
    def fork_safe(self) -> bool:
        """As `ForkSafe`: a limit of speed is kept in one process."""
        return not self.session.is_slowed

    def forked(self) -> None:
        """Drop the parent's connections, in a forked child."""
        self.session.forked()

    def resolve(
        self, reference: Reference, known: Callable[[Digest], bytes | None] | None = None
    ) -> tuple[Descriptor, bytes]:
        """The manifest or index that `reference.target` names, verified; at most MAX_DOCUMENT bytes.

        `known` gives the bytes of documents that are at hand: then a HEAD decides, which is cheap and
        does not count against the rate limits of Docker Hub, and what is known is not sent again.
        """
        if known is not None:
            at_hand = self._at_hand(reference, known)
            if at_hand is not None:
                return at_hand
        with self.session.suspecting():
            return self.document(reference.target, self._said(reference))

    def head(self, reference: Reference) -> Descriptor | None:
        """What a HEAD says of a manifest: type, digest, size; None if the registry does not say them all.

        Nothing of it is verified. Where HEAD fails, a GET decides. Raises NotFound, RegistryError.
        """
        path, what = routes.manifest(self.name, reference.target), self._said(reference)
        response = self._asked(path, what, self._pull, _ACCEPT)
        if response is None:
            return self.document(reference.target, what)[0]
        return _described(response)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """The content from `offset` on. The caller verifies the digest; the size is verified here."""
        if descriptor.media_type in DOCUMENT_TYPES:
            data = self.document(descriptor.digest, f"manifest {descriptor.digest} of {self.name}")[1]
            return closing(io.BytesIO(data[offset:]))
        what = f"blob {descriptor.digest} of {self.name}"
        connect = self._connect(descriptor.digest, what)
        reader = RangedReader(connect, what, descriptor.size, offset, self.session.retry, self._ranges)
        reader.open()
        return closing(reader)

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> AbstractContextManager[Reader]:
        """The bytes from `start` up to `end`. Raises RegistryError if the registry supports no ranges."""
        what = f"blob {descriptor.digest} of {self.name}"
        connect, retry = self._connect(descriptor.digest, what), self.session.retry()
        reader = BlobReader(connect, what, descriptor.size, start, retry, end=end)
        reader.open()
        return closing(reader)

    def download(self, digest: Digest) -> AbstractContextManager[BlobReader]:
        """A blob whose size the registry alone knows. The caller verifies it; breaks are resumed."""
        what = f"blob {digest} of {self.name}"
        connect, retry = self._connect(digest, what), self.session.retry()
        first = [self.session.attempt(lambda: connect({}), retry)]
        size = first[0].length
        if size is None:
            first.pop().close()
            raise RegistryError(f"{self.session.registry} does not say how large {what} is", status=200)
        again = lambda headers: first.pop() if first and not headers else connect(headers)  # noqa: E731
        reader = BlobReader(again, what, size, 0, retry)
        reader.open()
        return closing(reader)

    def size(self, digest: Digest) -> int:
        """How large the registry says that a blob is. Raises NotFound, RegistryError."""
        what = f"blob {digest} of {self.name}"
        with self.session.look(routes.blob(self.name, digest), what, self._pull) as response:
            if response.length is None:
                raise RegistryError(f"{self.session.registry} does not say how large {what} is", status=200)
            return response.length

    def read(self, descriptor: Descriptor) -> bytes:
        """All of a small blob (at most MAX_DOCUMENT bytes), verified by size and digest."""
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidDocument(f"{descriptor.digest} has {descriptor.size} bytes, too many for a document")
        verifier = Verifier(descriptor.digest, descriptor.size, f"blob of {self.where}")
        with self.fetch(descriptor) as reader:
            data = reader.read(-1)
        verifier.update(data)
        verifier.verify()
        return data

    # Sink

    def has(self, descriptor: Descriptor) -> bool:
        """True if the blob or manifest is there already; one of another size does not count."""
        document = descriptor.media_type in DOCUMENT_TYPES
        path = (routes.manifest if document else routes.blob)(self.name, descriptor.digest)
        try:
            what, headers = f"{descriptor.digest} of {self.name}", _ACCEPT if document else None
            with self.session.look(path, what, self._push, headers) as response:
                return response.length in (None, descriptor.size)
        except NotFound:
            return False

    def holds(self, target: str, descriptor: Descriptor) -> bool:
        """True if `target` names exactly this manifest already; also the first request of a push, whose
        token all others then have.
        """
        path, what = routes.manifest(self.name, target), f"manifest {target} of {self.name}"
        try:
            with self.session.look(path, what, self._push, _ACCEPT) as response:
                return _content_digest(response) == descriptor.digest
        except (NotFound, RegistryError) as error:
            if isinstance(error, Unauthorized | Unreachable):
                raise
            return False

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """Take a blob over from one of `repositories` (full names); None if none of them has it.

        A registry that cannot mount opens an upload instead: it is kept for `put`.
        """
        tried = 0
        for full in dict.fromkeys(repositories):
            host, name = self._elsewhere(full)
            if host != self.session.registry or name == self.name or tried == MAX_MOUNTS:
                continue
            tried += 1
            if self._mount(descriptor.digest, name):
                return full
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Upload a blob of known digest and size. Raises RegistryError."""
        with self._lock:
            location = self._begun.pop(descriptor.digest, "")
        self._uploads.put(descriptor, opener, location)

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Store exactly `data` under a tag or a digest."""
        path = routes.manifest(self.name, target)
        request = Request("PUT", path, {"Content-Type": media_type}, data)
        with self.session.open(
            request, f"manifest {target} of {self.name}", scopes=self._push, ok=SUCCESS
        ) as response:
            self.session.checked(response, f"manifest {target}")
            said = _content_digest(response)
            sent = Digest.of(data, said.algorithm if said else "sha256")
            if said not in (None, sent):
                raise DigestMismatch(sent, said or "", what=f"{self.where}:{target} as stored")
            kept = OCI_SUBJECT.lower() in response.headers
        if b'"subject"' in data and not kept:
            referrers.keep(self, data, media_type)

    # What else a repository can do

    def tags(self) -> Iterator[str]:
        """All tags, in the registry's order, page by page."""
        path = routes.tags(self.name)
        return listing(self.session, path, "tags", f"tags of {self.name}", self._pull)

    def delete(self, target: str) -> None:
        """Remove a manifest by digest, or a tag where the registry can. Raises NotFound, RegistryError."""
        scopes = (repository_scope(self.name, "pull", "push", "delete"),)
        path, what = routes.manifest(self.name, target), f"manifest {target} of {self.name}"
        self.session.open(Request("DELETE", path), what, scopes=scopes, ok=SUCCESS).close()

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What says that it refers to the manifest `digest` (signatures, SBOMs): by the API, else by tag."""
        return referrers.listed(self, digest, artifact_type)

    def doubt(self, _digest: Digest) -> bool:
        """The content that came was wrong; True if there is another place to ask for it."""
        return False

    # Within

    def _connect(self, digest: Digest, what: str) -> Connect:
        path = routes.blob(self.name, digest)

        def connect(headers: dict[str, str]) -> Response:
            return self.session.once(Request("GET", path, headers), what, scopes=self._pull, ok=(200, 206))

        return connect

    def _asked(
        self, path: str, what: str, scopes: Sequence[str], headers: Mapping[str, str] | None
    ) -> Response | None:
        """The answer to a HEAD, open; None where it fails in a way that says nothing of a GET.

        Some registries and proxies do not know HEAD, or redirect it to a link signed for GET alone.
        """

        def ask() -> Response | None:
            try:
                response = self.session.once(Request("HEAD", path, headers or {}), what, scopes=scopes)
                return self.session.checked(response, what)
            except Transient as failure:
                if isinstance(failure.error, RegistryError) and failure.error.status in WAITING:
                    raise
            except Unreachable:
                raise
            except (NotFound, RegistryError):
                pass  # says nothing of a GET
            return None

        return self.session.attempt(ask)

    def _said(self, reference: Reference) -> str:
        return f"manifest for {reference.familiar}"

    def document(self, target: str, what: str) -> tuple[Descriptor, bytes]:
        """The manifest or index under a tag or digest, verified. Raises NotFound, RegistryError."""
        path = routes.manifest(self.name, target)
        response, data = self.session.document(
            path, what, scopes=self._pull, limit=MAX_DOCUMENT, headers=_ACCEPT
        )
        digest = _verified(response, data, target, what)
        try:
            media_type = parse_document(data, _media_type(response)).media_type
        except InvalidDocument as error:
            raise InvalidDocument(f"{what}: {error.message}", hint=error.hint) from None
        return Descriptor(media_type, digest, len(data)), data

    def _at_hand(
        self, reference: Reference, known: Callable[[Digest], bytes | None]
    ) -> tuple[Descriptor, bytes] | None:
        response = self._asked(
            routes.manifest(self.name, reference.target), self._said(reference), self._pull, _ACCEPT
        )
        head = _described(response) if response else None
        data = known(head.digest) if head else None
        if head is None or data is None or Digest.of(data, head.digest.algorithm) != head.digest:
            return None
        if reference.digest and reference.digest != head.digest:
            return None
        return Descriptor(parse_document(data).media_type, head.digest, len(data)), data

    def _mount(self, digest: Digest, source: str) -> bool:
        """True if mounted. A refusal is no reason to give up: the blob can still be sent."""
        try:
            location = self._uploads.mount(digest, source, (repository_scope(source, "pull"),))
        except (RegistryError, NotFound):
            return False
        with self._lock:
            spare = self._begun.pop(digest, "")
            if location:
                self._begun[digest] = location
        if spare:
            self._uploads.cancel(spare)
        return not location


def _described(response: Response) -> Descriptor | None:
    """What the headers of an answer say of a manifest, if all of it. Closes the answer."""
    with response:
        digest = _content_digest(response)
        if digest is None or response.length is None:
            return None
        return Descriptor(_media_type(response), digest, response.length)


def _literally(full: str) -> tuple[str, str]:
    host, _, name = full.partition("/")
    return host, name


def listing(session: Session, path: str, key: str, what: str, scopes: Sequence[str]) -> Iterator[str]:
    """The names under `key` of a paged list, each once. Raises RegistryError for a list without an end."""
    seen: set[str] = set()
    with session.suspecting():
        for data, last in session.pages(f"{session.url(path)}?n={_PAGE}", what, scopes):
            names = _names(decode_json(data, what), key, what)
            fresh = [name for name in dict.fromkeys(names) if name not in seen]
            seen.update(fresh)
            if len(seen) > MAX_NAMES or not (fresh or last):
                raise session.endless(what)
            yield from fresh


def _names(fields: Any, key: str, what: str) -> list[str]:
    names = fields.get(key) if isinstance(fields, dict) else None
    names = [] if names is None and isinstance(fields, dict) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isprintable() for name in names):
        raise InvalidDocument(f"{what}: the registry did not send a list of names")
    return names


def _verified(response: Response, data: bytes, target: str, what: str) -> Digest:
    """The digest of `data`, after comparing it with what was asked for and what the registry says."""
    said = _content_digest(response)
    asked = Digest(target) if ":" in target else None
    for expected in (asked, said):
        if expected is not None and expected != Digest.of(data, expected.algorithm):
            raise DigestMismatch(expected, Digest.of(data, expected.algorithm), what=what)
    return asked or Digest.of(data)


def _content_digest(response: Response) -> Digest | None:
    text = response.headers.get(CONTENT_DIGEST.lower(), "")
    try:
        return Digest(text) if text else None
    except InvalidName as error:
        raise RegistryError(f"{response.url.split('/')[2]} says: {error.message}") from None


def _media_type(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
