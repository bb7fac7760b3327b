"""The values of a catalog, and what it needs of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...grammars.wire.conditions import ANYTHING, Conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Protocol, TypeVar

    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from ..storage.protocol import Placed

    T = TypeVar("T")

    class Rows(Protocol):
        """What a statement gave; `rowcount` is the number of rows that it changed."""

        @property
        def rowcount(self) -> int: ...  # noqa: D102

        def fetchone(self) -> Any: ...  # noqa: D102

        def fetchall(self) -> list[Any]: ...  # noqa: D102

        def __iter__(self) -> Iterator[Any]: ...

    class CatalogTransaction(Protocol):
        """One transaction under way. Values stand for `?` or `?1` in a statement.

        `orphans`: digests whose files go after the commit, unless somebody has the content by then.
        """

        orphans: list[Digest]

        def execute(self, sql: str, values: Sequence[object] = (), /) -> Rows:
            """Run a statement once, with these values."""

        def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> object:
            """Run a statement with each of the rows."""

        def lock(self, *keys: str) -> None:
            """Until the end of the transaction no other has the lock of any of `keys`."""

        def now(self) -> float:
            """Seconds since 1970, by the clock that all have in common who change the database."""

    class CatalogDatabase(Protocol):
        """Where a catalog is kept. Any thread may use it. Everything raises StoreError."""

        is_remote: bool
        """Do answers come from another process? Then an event loop must not wait for them."""
        registry: str
        """Tells one database from others; "" for a file, which lies with its content."""

        def version(self) -> int | None:
            """Another number after each change, after one of another process within 5 ms; None of a server,
            which would have to be asked.
            """

        def read(self, sql: str, *values: object) -> list[Any]:
            """What was committed, which takes no time."""

        def listed(self, sql: str, *values: object) -> list[Any]:
            """What may take long: `read` never waits for it."""

        def every(self, table: str, columns: Sequence[str], keys: int) -> Iterator[Any]:
            """The rows of a table whose key are the first `keys` of `columns`; none if there is no such
            table. Text that cannot be decoded comes as bytes.
            """

        def problems(self) -> list[str]:
            """What is wrong with its file, some of it."""

        def rebuild_indexes(self) -> None:
            """Make all indexes again from the tables."""

        def change(self, function: Callable[[CatalogTransaction], T], *, durable: bool = True) -> T:
            """`function(transaction)`, and commit unless it raises.

            What it checks must hold when it commits: it locks what it looks at. It may be called again, in
            a new transaction, where others came between. It is on the disk then; unless it is `durable`, a
            power cut may undo it, a kill never.
            """

        def snapshot(self, function: Callable[[CatalogTransaction], T]) -> T:
            """`function(transaction)` of what is there at one moment, and no later; it only reads."""

        def now(self) -> float:
            """As `now` of a transaction."""

        def close(self) -> None:
            """Nothing may be called afterwards."""

    class Contents(Protocol):
        """What a transaction does to content; with its lock, where there is one."""

        def keep(self, db: CatalogTransaction, placed: Placed, /) -> None:
            """A repository has it."""

        def remove(self, db: CatalogTransaction, digest: Digest, /) -> None:
            """No repository has it any more. What cannot be rolled back is left to `drop`, by `orphans`."""

        def drop(self, digest: Digest, /) -> None:
            """Of `orphans`, after the commit: still no repository has it."""

        def end(self, db: CatalogTransaction, upload: str, key: str = "", /) -> None:
            """An upload is over; of what it brought, `key` stays."""


class Stored(NamedTuple):
    """A manifest as a repository knows it."""

    digest: Digest
    media_type: str
    size: int


class Document(NamedTuple):
    """What is recorded of a pushed manifest or index, `size` in bytes.

    `parts` must be in the repository; `subject` ("" if none) need not be.
    """

    media_type: str
    size: int
    parts: tuple[Descriptor, ...]
    subject: str
    artifact_type: str
    annotations: tuple[tuple[str, str], ...]


class Upload(NamedTuple):
    """An unfinished upload to a repository: whose it is, and the algorithm of the digest it will have."""

    repository: str
    owner: str = ""
    algorithm: str = "sha256"


class UploadLimits(NamedTuple):
    """How many unfinished uploads there may be, of all and of each owner; seconds until one is idle."""

    most: int
    each: int
    idle: float


class WriteConditions(NamedTuple):
    """What must be under `reference` (a tag or a digest) for a change to be made.

    `frozen`: tags that the change sets only where they are not set yet. `sparse`: parts may be absent.
    """

    reference: str = ""
    conditions: Conditions = ANYTHING
    frozen: tuple[str, ...] = ()
    sparse: bool = False


FREE = WriteConditions()


class Referrer(NamedTuple):
    """A manifest whose subject is another one."""

    digest: str
    media_type: str
    size: int
    artifact_type: str
    annotations: dict[str, str]
