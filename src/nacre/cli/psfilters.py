"""The filters of `nacre ps`. Source: moby daemon/list.go."""

from __future__ import annotations

from ..grammars.restart import POLICIES
from ..words.errors import NacreError, UsageError
from .columns import health_of, mounts_of, networks_column, state_of
from .filters import Filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..stores.containers import ContainerRow
    from ..words.digest import Digest
    from .context import Context

ALLOWED = (
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label", "name",
    "network", "publish", "restart-policy", "since", "status", "volume",
)  # fmt: skip
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HEALTH = ("none", "starting", "healthy", "unhealthy")


class Chosen:
    """The filters of one listing, read and checked before anything is listed.

    Raises UsageError for values that make no sense, NotFound for containers that are not there.
    """

    def __init__(self, context: Context, written: Sequence[str]) -> None:
        self._context = context
        self.filters = filters = Filters(written, ALLOWED)
        filters.one_of("status", _STATES, "state")
        filters.one_of("health", _HEALTH)
        filters.one_of("restart-policy", POLICIES)
        filters.matches("name", ""), filters.matches("id", "")
        self._codes = [_code(value) for value in filters.get("exited")]
        self._is_task = filters.flag("is-task")
        self._exposed = [_ports("expose", value) for value in filters.get("expose")]
        self._published = [_ports("publish", value) for value in filters.get("publish")]
        self._before = [self._place(value) for value in filters.get("before")]
        self._since = [self._place(value) for value in filters.get("since")]
        self._ancestors = [_layers(context, value) for value in filters.get("ancestor")]

    def _place(self, text: str) -> tuple[float, str]:
        row = self._context.engine.containers.get(text)
        return (row.created, row.id)

    @property
    def wants_all(self) -> bool:
        """Whether containers that do not run are asked for."""
        return bool(self.filters.get("status") or self.filters.get("exited"))

    def allows(self, row: ContainerRow, record: dict[str, Any]) -> bool:
        """Whether a container is to be listed."""
        filters, place = self.filters, (row.created, row.id)
        return (
            all(place < other for other in self._before)
            and all(place > other for other in self._since)
            and filters.matches("name", row.name, f"/{row.name}")
            and filters.matches("id", row.id)
            and self._is_task is not True
            and filters.allows("isolation", "", "default")
            and filters.allows("status", state_of(self._context, row))
            and filters.allows("health", self._health(row))
            and filters.allows("restart-policy", *(record.get("restart") or ["no"])[:1])
            and (not self._codes or (row.state == "exited" and row.exit_code in self._codes))
            and (not filters.get("label") or filters.labels(record.get("labels") or {}))
            and filters.allows("network", *networks_column(record).split(","))
            and self._has_volume(record)
            and self._has_port(record)
            and self._descends(row)
        )

    def _health(self, row: ContainerRow) -> str:
        return (health_of(self._context, row) or "none") if self.filters.get("health") else ""

    def _has_volume(self, record: dict[str, Any]) -> bool:
        if not self.filters.get("volume"):
            return True
        mounts = mounts_of(record, self._context.root)
        return any(
            self.filters.allows("volume", mount["Destination"], mount.get("Name") or mount["Source"])
            for mount in mounts
        )

    def _has_port(self, record: dict[str, Any]) -> bool:
        """By ports of the container: those exposed, and those published."""
        if not (self._exposed or self._published):
            return True
        from ..grammars.ports import single_ports

        exposed = {port for text in record.get("ports") or () for port in single_ports(text)}
        published = {f"{port}/{protocol}" for port, protocol, *_ in record.get("publish") or ()}
        return all(
            any(ports.intersection(some) for some in wanted)
            for wanted, ports in ((self._exposed, exposed), (self._published, published))
            if wanted
        )

    def _descends(self, row: ContainerRow) -> bool:
        """Whether its image is one of the ancestors, or has all the layers of one below its own."""
        if not self._ancestors:
            return True
        if any(row.image == digest or row.image_ref == text for text, digest, _ in self._ancestors):
            return True
        image = self._context.engine.containers.image_of(row)
        mine = image.diff_ids if image else ()
        return any(layers and mine[: len(layers)] == layers for _, _, layers in self._ancestors)


def _layers(context: Context, text: str) -> tuple[str, str, tuple[Digest, ...]]:
    """An image as named, its manifest's digest and its layers; without them when it is not there."""
    try:
        image = context.engine.image(text)
    except NacreError:
        return text, "", ()
    return text, str(image.digest), image.diff_ids


def _code(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"invalid filter 'exited={value}': expected a number") from None


def _ports(key: str, value: str) -> list[str]:
    """`80`, `80/udp` or `8000-8010/tcp` as single ports."""
    numbers, _, protocol = value.partition("/")
    first, dash, last = numbers.partition("-")
    ends = (first, last if dash else first)
    good = all(end.isascii() and end.isdigit() and 0 < int(end[:9]) < 65536 for end in ends)
    if not good or int(ends[0]) > int(ends[1]) or protocol not in ("", "tcp", "udp", "sctp"):
        raise UsageError(f"invalid filter '{key}={value}'", hint="expected PORT[-PORT][/PROTOCOL]")
    return [f"{port}/{protocol or 'tcp'}" for port in range(int(ends[0]), int(ends[1]) + 1)]
