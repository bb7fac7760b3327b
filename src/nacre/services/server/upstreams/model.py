"""What a registry needs of another one whose content it passes on: a protocol, which the engine fills.

Services do not import each other, so the server is handed objects that speak to other registries. All of
their methods are called in threads, and nothing that they give is believed: documents are checked here
again, and content counts when its digest is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ....words.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from ....grammars.wire.errors import Code
    from ....words.digest import Digest
    from ....words.oci import Descriptor
    from ....words.upstreams import UpstreamRules


class BlobStream(Protocol):
    """Content that is coming."""

    @property
    def size(self) -> int:
        """Bytes of all of it, as it was announced."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises NacreError."""


class Upstream(Protocol):
    """Another registry. Safe to use from many threads.

    Each method raises NotFound for what is not there, Unauthorized, and RegistryError with the status and,
    in its headers, the `Retry-After` of the answer; Unreachable where there was none.
    """

    @property
    def rules(self) -> UpstreamRules:
        """What the operator said of it."""

    @property
    def agent(self) -> str:
        """What its requests carry as `User-Agent`: by that a registry knows its own."""

    def head(self, repository: str, tag: str) -> Descriptor | None:
        """What a tag is said to name, cheaply; None when that is not to be had without `manifest`."""

    def manifest(self, repository: str, reference: str) -> tuple[Descriptor, bytes]:
        """The document under a tag or a digest, of at most 4 MiB."""

    def blob(self, repository: str, digest: Digest) -> AbstractContextManager[BlobStream]:
        """The content of a blob. Nothing of it is verified but its length."""

    def blob_size(self, repository: str, digest: Digest) -> int:
        """How large a blob is said to be."""

    def tags(self, repository: str) -> Iterable[str]:
        """All tags of a repository."""

    def referrers(self, repository: str, digest: Digest) -> Sequence[Descriptor]:
        """What refers to a manifest."""

    def close(self) -> None:
        """End it all: what other threads wait for fails."""


class UpstreamRepository(NamedTuple):
    """A repository of an upstream, and the one here, `name`, that is a copy of it."""

    upstream: Upstream
    repository: str
    name: str

    def __str__(self) -> str:
        """As users know it."""
        return f"{self.upstream.rules.name}/{self.repository}"


class ServingRefused(RegistryError):
    """This registry itself says no, whatever its upstream says."""

    @classmethod
    def by(cls, code: Code, message: str) -> ServingRefused:
        """With the status of a code."""
        return cls(message, status=code.status, code=code.name)
