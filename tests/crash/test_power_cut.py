"""A power cut: what was reported as done is there, what was pulled is whole or fetched again.

Twice. A store on an ext4 in a file: the file at a chosen moment is what the disk has got by then, because
pages that the inner file system holds back never reached it; a copy of it is mounted, its journal replayed,
and opened by commands that believe in another boot. And harsher than any disk, also for an ordinary user:
every file whose row does not say that it was synced is emptied, cut, zeroed or gone.
"""

from __future__ import annotations

from pathlib import Path

from bench import ALL, KEPT, Box, Zygote, drivers
from disk import Disk
from fakeregistry import FakeRegistry
from scenarios import Scenario, prepare

MADE_HERE = ("build", "import", "commit", "tag")
"""Commands whose result exists nowhere else."""
FETCHED = ("pull", "load")
OTHERS = ("rmi", "rm", "create", "cp", "prune", "builder-prune")
NAMED = "ref:set"
"""From here on the name is on the disk."""
BEFORE, AFTER = "boot-1", "boot-2"


class Torn:
    """A store that has everything, copied for each case; `end` looks at what became of it."""

    def __init__(self, zygote: Zygote, root: Path, driver: str, busybox: bytes, fake: FakeRegistry) -> None:
        self.box = Box(zygote, root, driver, BEFORE)
        self.scenarios = prepare(self.box, busybox, fake)

    def start(self, box: Box, kind: str, **request: object) -> int:
        scenario = self.scenarios[kind]
        if scenario.file:
            request["in"] = str(box.zygote.folder / scenario.file)
        said = box.command(*scenario.words, **request)
        again = scenario.again and scenario.again in said.err
        assert said.code in (0, -9) or (box.boot == AFTER and again), (kind, said)
        return said.code

    def end(self, box: Box, kind: str, code: int) -> None:
        """After the machine is back; `code` is how the command ended, 0 for one that reported success."""
        scenario, box = self.scenarios[kind], Box(box.zygote, box.root, box.driver, AFTER)
        made = (scenario.makes,) if scenario.makes and not code and kind in MADE_HERE else ()
        box.is_sound((*KEPT, *made), others=kind not in FETCHED)
        box.do("images")
        if made and scenario.proof:
            box.do(*scenario.proof)
        self.start(box, kind)
        self._proof(box, scenario)

    def _proof(self, box: Box, scenario: Scenario) -> None:
        box.is_sound((*KEPT, scenario.makes) if scenario.makes else KEPT)
        if scenario.proof:
            box.do(*scenario.proof)
        box.do("run", "--rm", "busybox:1", "true")
        box.is_tidy(scenario.containers)


def test_the_disk_has_what_was_reported(
    disk: Disk, zygote: Zygote, busybox_tar: bytes, fake: FakeRegistry
) -> None:
    """The power goes at the end of a command, and in the middle of it or right after it set a name."""
    torn = Torn(zygote, disk.place / "store", drivers(zygote, disk.place)[-1], busybox_tar, fake)
    disk.keep()
    lost, note = disk.place.with_name("lost.img"), disk.place.with_name("note")
    for kind in (*MADE_HERE, *FETCHED, "rmi", "prune") if ALL else ("build", "import", "pull", "rmi"):
        note.unlink(missing_ok=True)
        disk.fresh()
        code = torn.start(torn.box, kind, note=str(note))
        disk.cut()
        torn.end(torn.box, kind, code)
        disk.umount()
        disk.fresh()
        moment = NAMED if kind in MADE_HERE else middle(note)
        assert torn.start(torn.box, kind, die=moment, cut=[str(disk.file), str(lost)]) == -9, kind
        disk.cut(lost)
        torn.end(torn.box, kind, 0 if moment == NAMED else -9)
        disk.umount()


def middle(note: Path) -> str:
    """The trace point in the middle of those passed."""
    passed = note.read_text().split()
    passed = passed[: len(passed) // 2 + 1]
    return f"{passed[-1]}#{passed.count(passed[-1])}"


def test_what_was_not_synced_is_torn(zygote: Zygote, busybox_tar: bytes, fake: FakeRegistry) -> None:
    for number, driver in enumerate(drivers(zygote, zygote.folder)):
        torn = Torn(zygote, zygote.folder / f"torn-{driver}", driver, busybox_tar, fake)
        zygote.call("settle", torn.box.root, boot=BEFORE)
        everything = ALL or number == 0
        for kind in (*MADE_HERE, *FETCHED, *OTHERS) if everything else ("build", "pull"):
            box = torn.box.copy("torn")
            code = torn.start(box, kind)
            zygote.call("tear", box.root, boot=AFTER)
            torn.end(box, kind, code)
            box.remove()
        torn.box.remove()
