"""The model: what every name may mean now, and what an operation makes of that."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .trees import Tree, identity

Place = tuple[str, str]
"""("name", a name of the store), ("remote", one of the registry), ("file", a path)."""
May = set[str | None]
"""Identities of the trees that a place may hold; None: it is not there."""
Effects = dict[Place, May]

ABSENT: May = {None}


class World:
    """What each place may hold. One that nobody has written to holds nothing."""

    def __init__(self) -> None:
        self.trees: dict[str, Tree] = {}
        self._replaced: set[str] = set()
        self._may: dict[Place, May] = {}

    def know(self, tree: Tree) -> str:
        """The identity of a tree, which is kept."""
        number = identity(tree)
        self.trees[number] = tree
        return number

    def may(self, place: Place) -> May:
        return self._may.get(place, ABSENT)

    def set(self, place: Place, found: May) -> None:
        self._replaced |= {number for number in self.may(place) - found if number}
        self._may[place] = found

    def take_replaced(self) -> list[Tree]:
        """What had a name and has it no more, since this was asked last: it may still be there."""
        replaced, self._replaced = self._replaced, set()
        return [self.trees[number] for number in sorted(replaced)]

    def places(self, kind: str) -> list[Place]:
        """Those that may hold something."""
        return sorted(place for place, found in self._may.items() if place[0] == kind and found != ABSENT)

    def sure(self, place: Place) -> bool:
        """Whether there is something for certain."""
        return None not in self.may(place)

    def trees_at(self, place: Place) -> list[Tree]:
        """All that it may hold."""
        return [self.trees[number] for number in sorted(filter(None, self.may(place)))]


class Step(NamedTuple):
    """One command of an operation."""

    words: tuple[str, ...]
    form: dict[str, object] = {}  # noqa: RUF012  # keywords of a request


class Operation(NamedTuple):
    """What one process does.

    `effects` gives what the places of `writes` hold afterwards, for what others may hold at its beginning.
    `wide`: it touches all names.
    """

    steps: tuple[Step, ...]
    reads: frozenset[Place] = frozenset()
    writes: frozenset[Place] = frozenset()
    effects: Callable[[Callable[[Place], May]], Effects] = lambda _may: {}
    wide: bool = False

    def __str__(self) -> str:
        words = " && ".join(" ".join(step.words) for step in self.steps)
        return f"{words}   (of {', '.join(name for _, name in sorted(self.reads))})" if self.reads else words


class Ended(NamedTuple):
    """How an operation went: `code` of its last command, negative for a signal."""

    operation: Operation
    code: int
    killed: bool
    said: str


def disturbed(operation: Operation, others: list[Operation]) -> bool:
    """Whether another one that runs at the same time may be met."""
    touched = operation.reads | operation.writes
    for other in others:
        if other.wide or operation.wide or not touched.isdisjoint(other.writes):
            return True
        if not operation.writes.isdisjoint(other.reads):
            return True
    return False


def must_work(world: World, operation: Operation, others: list[Operation]) -> bool:
    """Whether it has no excuse for failing."""
    return not disturbed(operation, others) and all(map(world.sure, operation.reads))


def after(world: World, round_: list[Ended]) -> Effects:
    """What the places may hold after operations that ran side by side."""
    before = {place: world.may(place) for ended in round_ for place in ended.operation.writes}
    possible = {place: set(found) for place, found in before.items()}

    def may(place: Place) -> May:
        return possible.get(place, world.may(place))

    for _ in round_:  # what one makes may be what another begins with
        for ended in round_:
            for place, found in ended.operation.effects(may).items():
                possible[place] |= found
    return {place: _settled(world, round_, place, possible[place]) for place in before}


def _settled(world: World, round_: list[Ended], place: Place, possible: May) -> May:
    """One that has worked alone on a place has made it what it makes of what was there before."""
    writers = [ended for ended in round_ if place in ended.operation.writes]
    (first, *rest) = writers
    others = [ended.operation for ended in round_ if ended is not first]
    if rest or first.killed or first.code or disturbed(first.operation, others):
        return possible
    return first.operation.effects(world.may)[place]
