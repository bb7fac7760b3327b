"""What a registry asks of the place where its content is.

Every call may wait for a disk or a network and belongs in a thread, but those that say otherwise. Besides
what is named each raises StoreError, and Unavailable when the place does not answer for now.

Content comes in two steps: the place takes it (`Placed`), then a transaction of the catalog makes it part
of a repository. Until then nobody is told of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...words.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class Placed(NamedTuple):
    """Verified content that no repository has yet. `key` names its object, "" in a folder; `tag` is the
    object's state as the place calls it, "" if it does not.
    """

    digest: Digest
    size: int
    key: str = ""
    tag: str = ""


class Located(NamedTuple):
    """Content that is there. `path` is the file to send as it is, "" where there is none."""

    digest: Digest
    size: int
    path: str = ""
    key: str = ""
    tag: str = ""


class ContentReader(Protocol):
    """Pieces of content, in order, as many bytes as were asked for; an error before the last piece when
    they cannot be had or, for the whole, are not those of the digest. One thread at a time; close it.
    """

    def read(self) -> bytes:
        """The next piece, b"" at the end. Raises NotFound, DigestMismatch."""
        ...

    def close(self) -> None:
        """Let go of what is open. Idempotent."""
        ...


class UploadWriter(Protocol):
    """An upload whose digest comes last. One thread at a time."""

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        ...

    def resume(self) -> None:
        """A request begins: another process may have gone on meanwhile."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        ...

    def rest(self) -> None:
        """A request is over: keep what came, for other processes too.

        Raises RegistryError when another request was faster.
        """
        ...

    def commit(self, digest: Digest) -> Placed:
        """All has come: verify it; nothing more may be written. Raises DigestMismatch."""
        ...

    def abort(self) -> None:
        """Drop what came. Idempotent."""
        ...

    def close(self) -> None:
        """Let go; another process can go on. Idempotent."""
        ...


class Storage(Protocol):
    """Content by digest. Safe for threads; `is_shared` places for any number of processes as well."""

    is_shared: bool
    """May other processes change it? Then it also answers slowly, and never on an event loop."""

    def locate(self, digest: Digest, size: int) -> Located | None:
        """Where content of that size is, None when it is not, or not whole. In a folder it takes
        microseconds, and the event loop may ask.
        """
        ...

    def read(self, digest: Digest) -> bytes:
        """Small content, verified. Raises NotFound, TooLarge, and DigestMismatch when it is damaged."""
        ...

    def open(self, found: Located, start: int, length: int) -> ContentReader:
        """`length` bytes of it from `start` on. Raises NotFound."""
        ...

    def link(self, found: Located) -> str:
        """A URL under which everybody can read it for a while, "" where the operator wants none."""
        ...

    def add(self, data: bytes, digest: Digest) -> Placed:
        """Take small content; it is durable when this returns."""
        ...

    def upload(self, upload: str, algorithm: str = "sha256") -> UploadWriter:
        """Go on with an upload that the catalog knows, or begin it."""
        ...

    def received(self, upload: str) -> int:
        """Bytes of an upload that are safe."""
        ...

    def adding(self, digest: Digest) -> AbstractContextManager[None]:
        """While it lasts nobody removes what is placed for `digest`; what no repository has at the end goes
        if it ended by an error.
        """
        ...

    def drop(self, placed: Placed) -> None:
        """No repository takes what was placed."""
        ...

    def reject(self, digest: Digest, key: str = "") -> None:
        """It is damaged: from now on it counts as absent, so that whoever pushes it again mends it. With the
        `key` of where it was located, what was pushed since stays. Idempotent.
        """
        ...

    def check(self) -> None:
        """Ask the place itself whether it is there and this registry's. Raises Conflict."""
        ...

    def tidy(self) -> Iterator[None]:
        """Remove what kills left, a little at each step, beside the requests."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
