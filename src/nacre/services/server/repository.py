"""A repository of this registry as source and sink of a copy: `images.model.source`."""

from __future__ import annotations

import io
import secrets
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...stores.activity import Author
from ...stores.catalog import WriteConditions
from ...words.digest import Digest
from ...words.errors import NotFound, TooLarge
from ...words.oci import DOCUMENT_TYPES, Descriptor
from .documents import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ...grammars.tar.entry import Reader
    from ...images.model.source import Content
    from ...stores.activity import Activity
    from ...stores.catalog import Stored
    from ...stores.garbage import Mentions
    from ...stores.registry import RegistryStore
    from ...stores.storage import Placed, UploadWriter
    from ...stores.storage.protocol import ContentReader
    from ...words.reference import Reference
    from ...words.rules import RegistryLimits
    from .state import RegistryState

_PIECE = 1 << 19
_PAGE = 500
_MOST_REFERRERS = 10_000


class OwnRegistry(NamedTuple):
    """What is needed of this registry."""

    store: RegistryStore
    activity: Activity
    mentions: Mentions
    limits: RegistryLimits

    @classmethod
    def of(cls, state: RegistryState) -> OwnRegistry:
        """Of one that is served."""
        return cls(state.store, state.activity, state.mentions, state.limits)


class CopyPace(Protocol):
    """How fast a copy goes, and how long it may take."""

    def check(self) -> None:
        """Ends it, by raising, if it must end."""

    def meter(self) -> Callable[[int], None]:
        """For one stream: told of the bytes that passed, it may wait, or raise."""


class LocalRepository:
    """What both have in common. `where` cannot be taken for a repository of another registry."""

    def __init__(self, own: OwnRegistry, name: str, pace: CopyPace) -> None:
        self.own, self.name, self.pace = own, name, pace
        self._catalog, self._storage = own.store.catalog, own.store.storage
        self.where = f"here:{name}"

    def has(self, descriptor: Descriptor) -> bool:
        """Is a blob or a manifest in this repository? Then it stays for a while."""
        digest = descriptor.digest
        if descriptor.media_type in DOCUMENT_TYPES:
            found = self._catalog.manifest(self.name, digest)
            size = found.size if found else None
        else:
            size = self._catalog.blob(self.name, digest)
        is_here = size == descriptor.size and self._storage.locate(digest, descriptor.size) is not None
        return is_here and self.own.mentions.tell(self.name, digest)

    def holds(self, target: str, descriptor: Descriptor) -> bool:
        """Does a tag name this manifest, and is that there?"""
        found = self._catalog.manifest(self.name, target)
        return found is not None and found.digest == descriptor.digest and self.has(_document(found))


class LocalSource(LocalRepository):
    """What is copied from."""

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """The document under a tag or digest. Raises NotFound, DigestMismatch."""
        self.pace.check()
        found = self._catalog.manifest(self.name, reference.target)
        if found is None:
            raise NotFound(f"no manifest {reference.target} in {self.name}")
        return _document(found), self._storage.read(found.digest)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """A blob from `offset` on. Raises NotFound."""
        digest, size = descriptor.digest, descriptor.size
        if descriptor.media_type in DOCUMENT_TYPES:
            return closing(io.BytesIO(self._storage.read(digest)[offset:]))
        is_here = self._catalog.blob(self.name, digest) == size
        found = self._storage.locate(digest, size) if is_here else None
        if found is None:
            raise NotFound(f"blob {digest} of {self.name} is gone or damaged")
        if offset >= size:
            return closing(io.BytesIO(b""))
        return closing(_Stored(self._storage.open(found, offset, size - offset), self.pace.meter()))

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """What refers to a manifest."""
        return tuple(self._referrers(digest, artifact_type))

    def _referrers(self, digest: Digest, artifact_type: str) -> Iterator[Descriptor]:
        last, count = "", 0
        while rows := self._catalog.referrers(self.name, digest, artifact_type, last, _PAGE):
            for row in rows:
                yield Descriptor(row.media_type, Digest(row.digest), row.size)
            last, count = rows[-1].digest, count + len(rows)
            if count > _MOST_REFERRERS:
                raise TooLarge(f"{self.name}@{digest} has more than {_MOST_REFERRERS} referrers")


class LocalSink(LocalRepository):
    """What is copied to. `author` is who the record of activity says did it; `expected`: what a tag is to
    name, if that is known.
    """

    def __init__(
        self, own: OwnRegistry, name: str, pace: CopyPace, author: str, expected: Digest | None = None
    ) -> None:
        super().__init__(own, name, pace)
        self._author, self._expected = author, expected

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """Never: the other side cannot tell who may read what here."""
        return None

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Take a blob. Raises TooLarge, RegistryError, StoreError."""
        self.pace.check()
        if descriptor.size > self.own.limits.blob:
            raise TooLarge(f"blob {descriptor.digest} has {descriptor.size} bytes, too many")
        self.own.store.check_room()
        writer = self._storage.upload(secrets.token_hex(16), descriptor.digest.algorithm)
        try:
            with opener() as content, self._storage.adding(descriptor.digest):
                self._receive(content, writer)
                self._record(writer.commit(descriptor.digest))
        except BaseException:
            writer.abort()
            raise
        finally:
            writer.close()

    def _receive(self, content: Content, writer: UploadWriter) -> None:
        passed = self.pace.meter()
        while data := content.read(_PIECE):
            writer.write(data)
            passed(len(data))

    def _record(self, placed: Placed) -> None:
        try:
            self._catalog.add_blob(self.name, placed)
        except BaseException:
            self._storage.drop(placed)
            raise

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Record a manifest, as if it had been pushed. Raises RegistryError."""
        self.pace.check()
        tags = () if ":" in target else (target,)
        digest = self._digest(target, data)
        document = read(data, media_type)
        self.own.store.check_room()
        guard = WriteConditions(frozen=self._frozen(tags))
        with self._storage.adding(digest):
            placed = self._storage.add(data, digest)
            try:
                author = Author(self._author)
                self._catalog.put_manifest(self.name, placed, document, tags, guard, author)
            except BaseException:
                self._storage.drop(placed)
                raise

    def _digest(self, target: str, data: bytes) -> Digest:
        """A tag's is in the algorithm that the other side uses, so that both have one name for it."""
        if ":" in target:
            return Digest(target)
        expected = self._expected
        same = expected and Digest.of(data, expected.algorithm) == expected
        return expected if expected and same else Digest.of(data)

    def _frozen(self, tags: Sequence[str]) -> tuple[str, ...]:
        accounts = self.own.store.accounts
        return tuple(tag for tag in tags if accounts.is_immutable(self.name, tag))


class _Stored:
    """A `Reader` of stored content."""

    def __init__(self, content: ContentReader, passed: Callable[[int], None]) -> None:
        self._content, self._passed, self._rest = content, passed, b""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, b"" at the end. Raises NacreError."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        data = self._rest or self._content.read()
        self._rest = data[size:]
        self._passed(min(size, len(data)))
        return data[:size]

    def close(self) -> None:
        """Let go of what is open."""
        self._content.close()


def _document(found: Stored) -> Descriptor:
    return Descriptor(found.media_type, found.digest, found.size)
