"""The two protocols that every arrow of the design ends in: a `Source` gives content, a `Sink` takes it.

A registry repository, a layout in a folder and the store are both; an archive that is read, a docker
daemon's answer and `host:` are sources, an archive that is written is a sink. pull, push and copy know
nothing else about them.
All methods may be called from several threads at once, and raise errors of `words.errors` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ...grammars.tar.entry import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ...words.reference import Reference


class Content(Reader, Protocol):
    """A blob opened for reading, as `BlobStore.open` gives it. Whoever opened it closes it."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move to `offset` (io.SEEK_SET), so that an upload can be resumed or repeated."""

    def close(self) -> None:
        """Close the connection or file. Idempotent."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Source(Protocol):
    """Where images come from.

    `where` names the place for messages and for later cross-repository mounts: `registry/repository`
    when it is a repository of a registry, else a text without a slash.
    """

    @property
    def where(self) -> str: ...  # noqa: D102

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """The manifest or index that `reference.target` (tag or digest) names, with its bytes.

        The bytes have the descriptor's digest (the source verified it) and are at most MAX_DOCUMENT
        long. Also used for the entries of an index, by digest. Raises NotFound, RegistryError,
        DigestMismatch, TooLarge.
        """

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """The content of a blob from `offset` on; the caller leaves the context when done or tired.

        The reader yields exactly `size - offset` bytes or raises; it resumes broken connections
        itself. The *caller* verifies the digest. Raises NotFound, RegistryError.
        """


class Ranged(Source, Protocol):
    """A source that gives parts of a blob. What a source cannot is seen by asking `hasattr`."""

    def fetch_range(self, descriptor: Descriptor, start: int, end: int) -> AbstractContextManager[Reader]:
        """The bytes of a blob from `start` up to `end`; else as `fetch`, but nothing can be verified.

        Raises RegistryError where the far side sends the whole blob instead.
        """


@runtime_checkable
class ConditionalSource(Ranged, Protocol):
    """A source that is far away: it can tell whether something changed, and may have more places to ask."""

    def resolve(
        self, reference: Reference, known: Callable[[Digest], bytes | None] | None = None
    ) -> tuple[Descriptor, bytes]:
        """As `Source.resolve`; what `known` gives by digest need not come again."""

    def doubt(self, digest: Digest, /) -> bool:
        """The content that came for `digest` was wrong; True if another place can be asked now."""


@runtime_checkable
class ForkSafe(Protocol):
    """A source or sink that forks of this process may use at the same time."""

    @property
    def fork_safe(self) -> bool:
        """Whether they may; False where it keeps account of something that they would not share."""

    def forked(self) -> None:
        """This is a fork, in its only thread, and uses it from now on."""


@runtime_checkable
class Referring(Source, Protocol):
    """A source that knows what refers to a manifest: signatures, SBOMs."""

    def referrers(self, digest: Digest, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """Those of one artifact type, or all. Raises RegistryError."""


@runtime_checkable
class Remembering(Source, Protocol):
    """A source that remembers where else its blobs are."""

    def origins(self, digest: Digest) -> list[str]:
        """Full names of repositories that may have a blob, the likeliest first."""


class Sink(Protocol):
    """Where images go. `where` as for `Source`."""

    @property
    def where(self) -> str: ...  # noqa: D102

    def has(self, descriptor: Descriptor) -> bool:
        """True if the blob (or manifest, by its media type) is there already."""

    def mount(self, descriptor: Descriptor, repositories: Sequence[str]) -> str | None:
        """Take the blob over from another repository of the same registry without moving it.

        `repositories` are full names (`registry/repository`), the likeliest first; those of other
        registries are passed over. Returns the one it was mounted from, or None.
        """

    def put(self, descriptor: Descriptor, opener: Callable[[], Content]) -> None:
        """Upload a blob; visible only when whole and verified by the far side. Idempotent.

        `opener` gives the content from its beginning, as often as it is called (for retries); each
        is closed by the sink.
        """

    def put_manifest(self, target: str, data: bytes, media_type: str) -> None:
        """Store exactly `data` under `target`, a tag or a digest. Atomic, replaces what a tag named."""


@runtime_checkable
class SequentialSink(Sink, Protocol):
    """A sink that writes one blob after another: several open at once would only let connections wait."""

    @property
    def keeps_tags(self) -> bool:
        """Whether an image can have a tag that is not a reference, as cosign's."""


@runtime_checkable
class TagAwareSink(Sink, Protocol):
    """A sink that can be asked what a name means there."""

    def holds(self, target: str, descriptor: Descriptor) -> bool:
        """True if `target` names exactly this manifest already. A sink that cannot say says False."""
