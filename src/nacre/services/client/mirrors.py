"""A repository with mirrors: they are asked in order, the registry itself last and for every write.

A mirror that cannot be reached is not asked again by this client; one whose content is not what its
digest says, or that breaks off, is not asked again for this repository. Nothing of a mirror is believed:
content is verified by digest as ever. A tag is what the first that knows it says it is.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from typing import TYPE_CHECKING, TypeVar

from ...grammars.config.settings import ALWAYS, DIGEST_ONLY, TAG_ONLY
from ...words.digest import Digest
from ...words.errors import NacreError, NotFound, Unreachable
from ...words.oci import MAX_DOCUMENT, Descriptor
from .repository import Repository

if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...words.reference import Reference

T = TypeVar("T")


class Mirrored(Repository):
    """`origin`, and the mirrors that are asked before it. `down` names hosts that gave no answer."""

    def __init__(
        self, origin: Repository, mirrors: Sequence[tuple[Repository, str]], down: set[str],
        notice: Callable[[str], object],
    ) -> None:  # fmt: skip
        super().__init__(**origin.parts())
        self._origin, self._mirrors, self._down, self._notice = origin, list(mirrors), down, notice
        self._gave: dict[str, Repository] = {}

    @property
    def fork_safe(self) -> bool:
        """No: which mirrors have failed is known in one process."""
        return False

    def resolve(
        self, reference: Reference, known: Callable[[Digest], bytes | None] | None = None
    ) -> tuple[Descriptor, bytes]:
        """The document of a reference, from the first place that knows it."""
        kind = DIGEST_ONLY if reference.digest else TAG_ONLY
        return self._first(lambda place: place.resolve(reference, known), kind)

    def head(self, reference: Reference) -> Descriptor | None:
        """The descriptor of a reference, from the first place that knows it."""
        kind = DIGEST_ONLY if reference.digest else TAG_ONLY
        return self._first(lambda place: place.head(reference), kind)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """As `Repository.fetch`; goes on at the next place when one fails. Small blobs are verified here."""
        if descriptor.size <= MAX_DOCUMENT:
            data = self._first(lambda place: place.read(descriptor), DIGEST_ONLY)
            return closing(io.BytesIO(data[offset:]))
        return closing(_Relay(self, descriptor, offset))

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> AbstractContextManager[Reader]:
        """As `Repository.fetch_range`, from the first place that begins to give it."""
        return self._first(lambda place: place.fetch_range(descriptor, start, end), DIGEST_ONLY)

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Those that the registry itself knows: mirrors seldom keep them."""
        return self._origin.referrers(digest, artifact_type)

    def doubt(self, digest: Digest) -> bool:
        """The content that came for `digest` was wrong: True if another place can be asked for it."""
        place = self._gave.pop(digest, None)
        if place is None or place is self._origin:
            return False
        self._drop(place, f"its content for {digest.short} has another digest")
        return True

    def places(self, kind: str = ALWAYS) -> Iterator[Repository]:
        """Who is asked, in order, as things stand when each is asked."""
        for place, asked in list(self._mirrors):
            if place.session.registry in self._down or asked not in (ALWAYS, kind):
                continue
            if any(place is other for other, _ in self._mirrors):
                yield place
        yield self._origin

    def gave(self, digest: Digest, place: Repository) -> None:
        """Note who a blob comes from."""
        self._gave[digest] = place

    def failed(self, place: Repository, error: NacreError) -> None:
        """A place did not do what was asked. The registry's own error is raised."""
        if place is self._origin:
            raise error
        if isinstance(error, Unreachable):
            self._down.add(place.session.registry)
        if not isinstance(error, NotFound):
            self._drop(place, error.message)

    def _first(self, ask: Callable[[Repository], T], kind: str) -> T:
        for place in self.places(kind):
            try:
                return ask(place)
            except NacreError as error:
                self.failed(place, error)
        raise AssertionError("the registry itself is always asked last")

    def _drop(self, place: Repository, why: str) -> None:
        before = len(self._mirrors)
        self._mirrors = [pair for pair in self._mirrors if pair[0] is not place]
        if len(self._mirrors) < before:
            self._notice(f"mirror {place.session.registry} is skipped: {why}")


class _Relay:
    """A blob read from the first place that gives it, and from the next ones when that breaks off."""

    def __init__(self, mirrored: Mirrored, descriptor: Descriptor, offset: int) -> None:
        self._mirrored, self._descriptor, self._at = mirrored, descriptor, offset
        self._places = mirrored.places(DIGEST_ONLY)
        self._open = ExitStack()
        self._reader = self._following()

    def read(self, size: int, /) -> bytes:
        """As `Reader.read`. Raises what the registry itself fails with."""
        while True:
            try:
                data = self._reader.read(size)
            except NacreError as error:
                self._mirrored.failed(self._place, error)
                self._reader = self._following()
            else:
                self._at += len(data)
                return data

    def close(self) -> None:
        """Close the blob. Idempotent."""
        self._open.close()

    def _following(self) -> Reader:
        self._open.close()
        for place in self._places:
            try:
                reader = self._open.enter_context(place.fetch(self._descriptor, self._at))
            except NacreError as error:
                self._mirrored.failed(place, error)
            else:
                self._place = place
                self._mirrored.gave(self._descriptor.digest, place)
                return reader
        raise AssertionError("the registry itself is always asked last")
