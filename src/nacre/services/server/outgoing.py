"""What the registry asks of others: the engine hands it in, since services do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...words.replication import ReplicationRule
    from .replication.model import RemoteRegistry
    from .telemetry import Telemetry


class Fetch(Protocol):
    """Asks for a small document."""

    def __call__(
        self, url: str, limit: int, form: Mapping[str, str] | None = None, bearer: str = ""
    ) -> bytes:
        """What is at a URL, at most `limit` bytes; with `form` that is posted. Raises NacreError."""


class Post(Protocol):
    """Tells somebody far away something."""

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, nearby: bool) -> int:
        """Post once, follow nothing, and give the status of the answer, within some seconds.

        `nearby`: also to addresses that are not public. Raises NacreError.
        """


class Outgoing(NamedTuple):
    """The ways out; None where there is none. `remote` opens the other registry of a rule of replication;
    `telemetry` hears of each request.
    """

    fetch: Fetch | None = None
    post: Post | None = None
    remote: Callable[[ReplicationRule], RemoteRegistry] | None = None
    telemetry: Telemetry | None = None
