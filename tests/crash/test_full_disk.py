"""A disk that fills up at every stage: one sentence, nothing half-made, and room can be made again."""

from __future__ import annotations

import os

import pytest
from bench import ALL, KEPT, Box, Said, Zygote, drivers
from disk import Disk
from fakeregistry import FakeRegistry
from scenarios import Scenario, prepare

KINDS = ("pull", "build", "import", "load", "commit", "create", "run", "cp", "tag")
ROOM = 512 << 10
"""Bytes that somebody else gives back afterwards: a file system without a single free block takes no row."""


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9] if ALL else [0.3, 0.8])
def test_full_at_every_stage(
    disk: Disk, zygote: Zygote, busybox_tar: bytes, fake: FakeRegistry, part: float
) -> None:
    """At the trace point that lies so far into each command."""
    driver = drivers(zygote, disk.place)[int(part * 10) % len(drivers(zygote, disk.place))]
    box = Box(zygote, disk.place / "store", driver)
    scenarios = prepare(box, busybox_tar, fake)
    disk.keep()
    complaints = []
    for kind in KINDS if ALL else KINDS[int(part * 10) % 2 :: 2]:
        try:
            _filled(disk, box, scenarios[kind], part)
        except AssertionError as error:
            complaints.append((kind, driver, str(error)))
        finally:
            disk.umount()
    disk.make(96 << 20)
    assert complaints == [], "\n".join(map(str, complaints))


def _filled(disk: Disk, box: Box, scenario: Scenario, part: float) -> None:
    disk.fresh()
    moment = _moment(disk, box, scenario, part)
    disk.umount()
    disk.fresh()
    filler = disk.place / "filler"
    said = _run(box, scenario, die=moment, fill=str(filler))
    _is_a_sentence(said)
    what = "image" if scenario.words[0] in ("commit", "cp") else "system"  # they need their stopped container
    _is_a_sentence(box.command(what, "prune", "-f"))
    os.truncate(filler, max(0, filler.stat().st_size - ROOM))
    box.is_sound()
    box.do("rmi", "spare:1")
    box.do("image", "prune", "-f")
    filler.unlink()
    said = _run(box, scenario)
    assert said.code == 0 or (scenario.again and scenario.again in said.err), said
    box.is_sound((*KEPT, scenario.makes) if scenario.makes else KEPT)
    box.do("run", "--rm", "busybox:1", "true")


def _moment(disk: Disk, box: Box, scenario: Scenario, part: float) -> str:
    note = disk.place.with_name("note")
    note.unlink(missing_ok=True)
    said = _run(box, scenario, note=str(note))
    assert said.code == 0, said
    passed = note.read_text().split()
    passed = passed[: int(len(passed) * part) + 1]
    return f"{passed[-1]}#{passed.count(passed[-1])}"


def _run(box: Box, scenario: Scenario, **request: str) -> Said:
    if scenario.file:
        request["in"] = str(box.zygote.folder / scenario.file)
    return box.command(*scenario.words, **request)


def _is_a_sentence(said: Said) -> None:
    """It worked all the same, or it says why not: once, and the right reason."""
    assert "Traceback" not in said.err, said
    assert "internal error" not in said.err, said
    if said.code:
        told = [line for line in said.err.splitlines() if line.startswith("nacre: ")]
        assert len(told) == 1, said
        assert "o space left on device" in said.err or "I/O error" in said.err, said
