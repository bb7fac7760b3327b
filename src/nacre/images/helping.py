"""Layers that come in by several processes, where this one may fork."""

from __future__ import annotations

from itertools import chain
from time import monotonic

from ..ground.crowd import processors
from ..ground.team import MOST, Helper, Team, is_alone
from ..words.value import Value
from .pipes import side_by_side
from .source import Divisible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from threading import Event

    from ..ground.team import Tell
    from ..stores.store import Store
    from ..words.digest import Digest
    from ..words.oci import Descriptor
    from ..words.progress import Task
    from .source import Source

    Row = tuple[Descriptor, Digest]
    Bring = Callable[[Row, Task, Event], int]

WORTH = 16 << 20
"""Compressed bytes beside the largest layer from which on a second process pays."""

_MOST = 8
_PAUSE = 0.05


class Share(Value):
    """How many processes, and layers at once in each."""

    processes: int
    at_once: int


def share(store: Store, source: Source, rows: Sequence[Row], at_once: int) -> Share:
    """How to divide the layers, the largest first; `processes` is 1 where that cannot be or does not pay."""
    missing = set(store.trees.missing([diff_id for _, diff_id in rows]))
    sizes = [layer.size for layer, diff_id in rows if diff_id in missing]
    may = isinstance(source, Divisible) and source.divisible and len(rows) <= MOST and is_alone()
    count = min(processors(), len(sizes), at_once, _MOST) if may and sum(sizes[1:]) >= WORTH else 1
    return Share(max(1, count), max(1, at_once // max(1, count)))


def bring_together(
    store: Store, source: Source, rows: Sequence[Row], tasks: Sequence[Task], bring: Bring, parts: Share
) -> int:
    """Call `bring` for every row in one of `parts.processes`; the sum of what it gives.

    `bring` reports to the task that it is given. Raises what it raises, wherever; then all have ended.
    """
    moved: list[int] = []

    with Team(len(rows), parts.processes - 1) as team:

        def here(item: int | Helper, stop: Event) -> None:
            if isinstance(item, Helper):
                item.follow(stop, heard)
            else:
                row, task = rows[item], tasks[item]
                moved.append(_work(team, lambda: bring(row, task, stop)))

        def heard(number: int, what: str, *values: object) -> None:
            if what == "moved":
                moved.append(*values)  # type: ignore[arg-type]
            else:
                getattr(tasks[number], what)(*values)

        def there(tell: Tell) -> None:
            assert isinstance(source, Divisible)
            source.forked()

            def work(number: int, stop: Event) -> None:
                count = _work(team, lambda: bring(rows[number], _Afar(number, tell), stop))
                tell(number, "moved", count)

            side_by_side(work, team, parts.at_once, 1)

        store.rest()
        helpers = [team.fork(there) for _ in range(parts.processes - 1)]
        items: Iterable[int | Helper] = chain(helpers, team)
        side_by_side(here, items, parts.at_once + len(helpers), 1 + len(helpers))
    return sum(moved)


def _work(team: Team, work: Callable[[], int]) -> int:
    team.working(1)
    try:
        return work()
    finally:
        team.working(-1)


class _Afar:
    """A task of the parent's."""

    def __init__(self, number: int, tell: Tell) -> None:
        self._number, self._tell = number, tell
        self._count, self._told = 0, 0.0

    def phase(self, name: str, total: int | None = None) -> None:
        self._flush()
        self._tell(self._number, "phase", name, total)

    def advance(self, count: int) -> None:
        """Not each piece: every packet takes the interpreter's lock from the parent's own work."""
        self._count += count
        if monotonic() - self._told >= _PAUSE:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            self._tell(self._number, "advance", self._count)
            self._count, self._told = 0, monotonic()

    def done(self, status: str) -> None:
        self._flush()
        self._tell(self._number, "done", status)
