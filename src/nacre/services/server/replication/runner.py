"""Does what a rule has to do: some repositories side by side, one tag of each at a time, again after
failures.

    ask what changed ─► rows ─► a thread for each tag ─► done, later again, or given up

The steps of its job are short, however long a copy takes: so its lock is renewed, and a process that ends
does not wait for a registry far away.
"""

from __future__ import annotations

from collections import Counter
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from ....ground.work.threads import Worker
from ....words.errors import ContentError, InvalidName, NacreError, RegistryError, Unreachable, Unsupported
from ....words.replication import PUSH
from ....words.sizes import human_size
from .model import COPIED, DELETED, ReplicationOutcome, ReplicationPace, ReplicationStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ....stores.replication import ReplicationProgress, ReplicationRow
    from .model import ReplicationPlace, ReplicationWay

PATIENCE = 3 * 24 * 3600.0
"""Seconds after which what waits is given up."""
_FIRST, _LONGEST = 5.0, 3600.0
_SILENT, _PAUSE = 5, 300.0
"""So many that do not answer in a row make the whole rule wait, at most so long."""
_AT_ONCE = 4
_MOMENT = 0.25
_LAST = 5.0
"""Seconds that one under way has to end: what it began here should not be left to tidy up."""
_FINAL = frozenset((400, 405, 409, 413, 415, 422))
"""What a registry says of content that it will not take the next time either."""


class _Bringing:
    """One tag under way, in a thread."""

    def __init__(self, row: ReplicationRow, way: ReplicationWay, pace: ReplicationPace, woken: Event) -> None:
        self.row, self.pace = row, pace
        self._way, self._woken = way, woken
        self.outcome: ReplicationOutcome | None = None
        self.failure: BaseException | None = None
        self.ended = False
        self.worker = Worker(self._bring)
        self.worker.start()

    def _bring(self) -> None:
        try:
            self.outcome = self._way.bring(self.row, self.pace)
        except BaseException as error:  # kept for who looks
            self.failure = error
        finally:
            self.ended = True
            self._woken.set()


class ReplicationTotals(NamedTuple):
    """What this process has done for a rule: tags by what became of them, and bytes that moved."""

    tags: Counter[str]
    moved: int


class Replicator:
    """One rule. `tell` takes a line for what was done, `warn` for what failed."""

    def __init__(
        self,
        place: ReplicationPlace,
        way: ReplicationWay,
        tell: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:
        self.place, self.way, self.queue = place, way, place.queue
        self._tell, self._warn = tell, warn
        self._now = place.own.store.catalog.now
        self._tags: Counter[str] = Counter()
        self._running: dict[str, _Bringing] = {}
        self._moved, self._silent = 0, 0

    @property
    def totals(self) -> ReplicationTotals:
        """Since this process began."""
        return ReplicationTotals(Counter(self._tags), self._moved)

    def close(self) -> None:
        """End what is under way, and let go of the other registry; nothing may be called afterwards."""
        running = list(self._running.values())
        for each in running:
            each.pace.stop()
        self.place.remote.close()
        for each in running:
            each.worker.join(_LAST)

    # ── when ──

    def is_due(self) -> bool:
        """Is there something to do, and is it time?"""
        if self.queue.is_wanted:
            return True
        progress = self.queue.progress
        if progress.again > self._now():
            return False
        return self._must_compare(progress) or self._has_news(progress) or self.queue.is_due

    def _has_news(self, progress: ReplicationProgress) -> bool:
        return self.place.rule.direction == PUSH and progress.position < self.place.own.activity.newest()

    def _must_compare(self, progress: ReplicationProgress) -> bool:
        """A rule that is new or says something else, or the record of activity goes on after a gap, or it is
        time.
        """
        rule = self.place.rule
        if progress.what != rule.what or progress.position < self.place.own.activity.oldest() - 1:
            return True
        return bool(rule.every) and not 0 <= self._now() - progress.compared < rule.every

    # ── what ──

    def steps(self) -> Iterator[int]:
        """Do what can be done now; how many tags so far."""
        try:
            yield from self._look()
        except (RegistryError, ContentError) as error:
            self._pause(error)
            return
        yield from self._work()

    def _look(self) -> Iterator[int]:
        progress, wanted = self.queue.progress, self.queue.is_wanted
        if wanted:
            progress = progress._replace(tries=0, again=0.0, error="")
            self.queue.hurry()
        if wanted or self._must_compare(progress):
            now, position = self._now(), self.place.own.activity.newest()
            for _ in self.way.everything():
                yield 0
            self.queue.keep(progress._replace(position=position, what=self.place.rule.what, compared=now))
            self.queue.want(wanted=False)
        for _ in self.way.changes():
            yield 0

    def _work(self) -> Iterator[int]:
        running = self._running = {}
        woken, count = Event(), 0
        try:
            while self._begin(running, woken):
                woken.wait(_MOMENT)
                woken.clear()
                for name in [name for name, each in running.items() if each.ended]:
                    self._end(running.pop(name))
                    count += 1
                yield count
                if self._has_news(self.queue.progress):
                    for _ in self.way.changes():
                        yield count
        finally:
            for each in running.values():
                each.pace.stop()

    def _begin(self, running: dict[str, _Bringing], woken: Event) -> bool:
        """Begin what can be begun; is anything under way?"""
        room = _AT_ONCE - len(running)
        if room and self.queue.progress.again <= self._now():
            limits = self.place.own.limits
            for row in self.queue.due(running, room):
                pace = ReplicationPace(self.place.rule.timeout, limits.rate)
                running[row.repository] = _Bringing(row, self.way, pace, woken)
        return bool(running)

    # ── what became of it ──

    def _end(self, each: _Bringing) -> None:
        error = each.failure
        if error is None:
            assert each.outcome is not None
            self._succeed(each.row, each.outcome)
        elif not isinstance(error, ReplicationStopped):
            self._fail(each.row, error)

    def _succeed(self, row: ReplicationRow, outcome: ReplicationOutcome) -> None:
        self.queue.done(row, outcome.digest, self.way.note(row, outcome))
        self._tags[outcome.status] += 1
        self._moved += outcome.moved
        self._silent = 0
        if self.queue.progress.tries:
            self.queue.keep(self.queue.progress._replace(tries=0, again=0.0, error=""))
        if outcome.status in (COPIED, DELETED):
            moved = f", {human_size(outcome.moved)} sent" if outcome.moved else ""
            self._tell(f"{self.place.author}: {outcome.status} {shown(row)}{moved}")

    def _fail(self, row: ReplicationRow, error: BaseException) -> None:
        message = error.message if isinstance(error, NacreError) else f"{type(error).__name__}: {error}"
        self._tags["failed"] += 1
        if _is_final(error) or self._now() - row.since > PATIENCE:
            self.queue.give_up(row, message)
            self._warn(f"{self.place.author}: {shown(row)} is given up: {message}")
        else:
            self.queue.failed(row, message, max(_delay(row.tries, _LONGEST), _asked(error)))
            if not row.tries:
                self._warn(f"{self.place.author}: {shown(row)} is tried again later: {message}")
        if isinstance(error, Unreachable):
            self._silent += 1
            if self._silent >= _SILENT:
                self._pause(error)
        if not isinstance(error, NacreError):
            raise error

    def _pause(self, error: NacreError) -> None:
        """Nothing of the rule is tried for a while."""
        progress, self._silent = self.queue.progress, 0
        again = self._now() + min(max(_delay(progress.tries, _PAUSE), _asked(error)), _LONGEST)
        if not progress.tries:
            self._warn(f"{self.place.author} waits: {error.message}")
        changed = progress._replace(tries=progress.tries + 1, again=again, error=error.message[:300])
        self.queue.keep(changed)
        self.queue.want(wanted=False)


def shown(row: ReplicationRow) -> str:
    """As users know it."""
    return f"{row.repository}{'@' if ':' in row.reference else ':'}{row.reference}"


def _delay(tries: int, longest: float) -> float:
    return float(min(_FIRST * 2 ** min(tries, 20), longest))


def _asked(error: BaseException) -> float:
    """Seconds that the other side asks to wait, within reason."""
    text = error.headers.get("Retry-After", "") if isinstance(error, RegistryError) else ""
    return min(float(text), _LONGEST) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _is_final(error: BaseException) -> bool:
    if isinstance(error, RegistryError):
        return error.status in _FINAL
    return isinstance(error, InvalidName | Unsupported)
