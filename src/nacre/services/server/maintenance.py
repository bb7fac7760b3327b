"""The jobs that every registry has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...stores.retention import Retention
from ...stores.scrub import PIECE, Scrubber
from .jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...stores.garbage import Garbage
    from ...stores.scrub import DamagedContent
    from .state import RegistryState

_MINUTE = 60.0
_HOUR = 3600.0
_DAY = 24 * 3600.0
_OBJECTS = 600.0
_REST = 9.0
"""What removes from the catalog does so for a tenth of the time: meanwhile nobody else can write there."""


def jobs_of(
    state: RegistryState, tell: Callable[[str], object], warn: Callable[[str], object]
) -> Iterator[Job]:
    """By the operator's rules. `tell` takes a line for what has changed, `warn` for what is damaged."""

    def collected(gone: Garbage) -> None:
        if any(gone):
            tell(f"collected {gone.manifests} manifests, {gone.blobs} blobs, {gone.bytes} bytes")

    def retired(count: int) -> None:
        if count:
            tell(f"removed {count} tags by the rules of retention")

    def scrubbed(damaged: list[DamagedContent]) -> None:
        for each in damaged:
            warn(f"error: {_said(each)}")

    rules = state.rules
    if state.storage.is_shared:
        yield Job("objects", state.storage.tidy, _OBJECTS)
    else:
        yield Job("tidy", state.storage.tidy, 0.0, each=True)
    if rules.garbage.interval:
        yield Job("collect", state.garbage.steps, rules.garbage.interval, collected, rest=_REST)
    yield Job("expire", state.garbage.expire, _MINUTE, collected, state.garbage.is_due, rest=_REST)
    if rules.retention:
        retention = Retention(state.catalog, rules.retention, state.store.accounts)
        yield Job("retention", retention.steps, _HOUR, retired, rest=_REST)
    if rules.scrub.interval:
        scrubber = Scrubber(state.catalog, state.storage, rules.scrub)
        pause = PIECE / rules.scrub.rate
        yield Job("scrub", scrubber.steps, _MINUTE, scrubbed, scrubber.is_due, pause)
    yield Job("activity", lambda: state.activity.trim(rules.activity), _DAY)


def _said(found: DamagedContent) -> str:
    """Of content that was found damaged, in one line."""
    names = ", ".join(found.users)
    if found.unreadable:
        return f"{found.digest} cannot be read: {found.unreadable}" + (f"; {names} needs it" if names else "")
    return f"{found.digest} is damaged and was set aside" + (f": push again {names}" if names else "")
