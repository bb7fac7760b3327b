"""kill -9 at every trace point: nothing named is lost, and the next command just works.

Which points a command passes is counted first, so a point that is new in the source is killed at without
being named here; one that no command reaches fails the test. In the suite each point is tried in a few
commands and each command at a few points; `NACRE_CRASH=all` tries everything, which takes minutes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from bench import ALL, KEPT, Box, Said, Zygote, drivers, points
from fakeregistry import FakeRegistry
from scenarios import Scenario, prepare

from nacre.ground import userns

AT_MOST, AT_LEAST = 1, 2
"""Commands for each point, points for each command."""
PARTS = 6
"""Tests among which they are divided, each with its own time."""
MAKING = ("build", "pull")
"""Commands that make trees in the two ways, tried on every driver."""
OF_ROOT = ("mounted:", "shared:", "tree:indexing", "tree:cuts", "tree:lent", "lending:")
"""Points that only root passes: mounts that stay, and the driver erofs."""
ELSEWHERE = ("rebuild:", "reset:", "lazy:", "upload:object", "upload:noted", "upload:whole", "upload:placed",
             "upload:ended", "restore:")  # fmt: skip
"""Points that these do not pass: test_rebuild.py, test_reset.py, test_lazy.py, test_registry_replicas.py and
test_registry_move.py kill there.
"""


class Case(NamedTuple):
    scenario: str
    point: str
    nth: int


class Room:
    """A prepared store of one driver, and what each scenario passes."""

    def __init__(
        self, zygote: Zygote, driver: str, busybox: bytes, fake: FakeRegistry, only: Sequence[str]
    ) -> None:
        self.box = Box(zygote, zygote.folder / f"base-{driver}", driver)
        found = prepare(self.box, busybox, fake)
        self.scenarios = {name: scenario for name, scenario in found.items() if not only or name in only}
        if not userns.mapped():  # such a mount would be seen by nobody
            for name in ("mount", "mount-up", "unmount"):
                self.scenarios.pop(name, None)
        self.passed = {name: self._count(name, scenario) for name, scenario in self.scenarios.items()}

    def _count(self, name: str, scenario: Scenario) -> list[str]:
        box, note = self.box.copy(f"count-{self.box.driver}"), self.box.zygote.folder / f"note-{name}"
        self.start(box, scenario, note=str(note))
        assert self.end(box, scenario) == [], name
        return note.read_text().split() if note.exists() else []

    def start(self, box: Box, scenario: Scenario, **request: str) -> Said:
        if scenario.first:
            box.do(*scenario.first)
        return self.run(box, scenario, **request)

    def run(self, box: Box, scenario: Scenario, **request: str) -> Said:
        if scenario.file:
            request["in"] = str(self.box.zygote.folder / scenario.file)
        return box.command(*scenario.words, **request)

    def end(self, box: Box, scenario: Scenario) -> list[str]:
        """What is wrong after the command has been done, if anything is; the box is used up."""
        try:
            box.is_sound((*KEPT, scenario.makes) if scenario.makes else KEPT)
            if scenario.proof:
                box.do(*scenario.proof)
            box.is_tidy(scenario.containers)
            box.is_sound((*KEPT, scenario.makes) if scenario.makes else KEPT)
        except AssertionError as error:
            return [str(error)]
        finally:
            if "up" in scenario.first:
                box.command("rm", "-f", "up")
            box.remove()
        return []

    def killed(self, case: Case) -> list[str]:
        """Kill a command there, look at what is left, and do it again."""
        scenario, box = self.scenarios[case.scenario], self.box.copy(f"killed-{self.box.driver}")
        said = self.start(box, scenario, die=f"{case.point}#{case.nth}")
        if said.code not in (-9, 0) or said.err.count("Traceback"):
            return [f"killed: {said}"]
        box.is_sound()
        said = self.run(box, scenario)
        if said.code and (not scenario.again or scenario.again not in said.err):
            return [f"done again: {said}"]
        return self.end(box, scenario)

    def cases(self) -> Iterator[Case]:
        """The last time that a command passes a point, and the first if that is another."""
        for name, passed in self.passed.items():
            for point in sorted(set(passed)):
                yield from (Case(name, point, nth) for nth in sorted({1, passed.count(point)}))


def chosen(cases: list[Case]) -> list[Case]:
    """A few of them: every point, every command, and always the same."""
    if ALL:
        return cases
    found: list[Case] = []
    for case in sorted(cases, key=hash_of):
        points_here = sum(case.point == other.point for other in found)
        here = sum(case.scenario == other.scenario for other in found)
        if points_here < AT_MOST or here < AT_LEAST:
            found.append(case)
    return found


def hash_of(case: Case) -> int:
    """An order that has nothing to do with names, the same in every process."""
    return zlib.crc32(repr(tuple(case)).encode())


@pytest.fixture(scope="module")
def rooms(zygote: Zygote, busybox_tar: bytes, fake: FakeRegistry) -> list[Room]:
    """The first driver with all commands, the others with those that make trees."""
    first, *others = drivers(zygote, zygote.folder)
    more = [Room(zygote, name, busybox_tar, fake, () if ALL else MAKING) for name in others]
    return [Room(zygote, first, busybox_tar, fake, ()), *more]


def test_every_trace_point_is_reached(rooms: list[Room]) -> None:
    """By some command on some driver; what only root can do is reached by root only."""
    missing = points() - {point for room in rooms for passed in room.passed.values() for point in passed}
    missing = {point for point in missing if not point.startswith(ELSEWHERE)}
    if not userns.mapped():
        missing = {point for point in missing if not point.startswith(OF_ROOT)}
    assert missing == set()


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_every_point(rooms: list[Room], part: int) -> None:
    """On the first driver everything; on the others the points at which trees are made."""
    complaints = []
    for room, case in all_cases(rooms)[part::PARTS]:
        complaints += [(room.box.driver, case, complaint) for complaint in room.killed(case)]
    assert complaints == [], "\n".join(map(str, complaints))


def all_cases(rooms: list[Room]) -> list[tuple[Room, Case]]:
    found = []
    for room in rooms:
        cases = [case for case in room.cases() if room is rooms[0] or ALL or case.point.startswith("tree:")]
        found += [(room, case) for case in chosen(cases)]
    return found
