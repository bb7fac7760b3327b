"""Runs operations on a store beside the model, and holds the two against each other.

A step is a round of one to four operations that run side by side, each in processes of its own; a third of
the operations is killed. After a step all bytes of the store are verified. After some, each image is exported
and compared; after more, each is pushed to a fresh registry and pulled from there into an empty store.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import Box, Said, Zygote
from fakeregistry import FakeRegistry

from .operations import Chooser
from .trees import Maker, difference, read, write
from .world import ABSENT, Ended, Operation, World, after, must_work

CROWD = "crowd-"
_LONGEST = 0.12
"""Seconds after which a command that is to be killed by the clock is killed at the latest."""
_POINTS = 30
_KILLED = 0.5
"""Operations that are to be killed; some end before."""
_LATER = 0.04
"""Seconds by which one operation of a round begins after another at most."""
_PAUSED = 0.5
"""Operations that stand still now and then."""
_BESIDE = 2
"""Lists of commands that a comparison runs at once."""


class Wrong(AssertionError):
    """The store is not what the model says, or a command has ended as it must not."""


class Runner:
    """One store, one model, one seed."""

    def __init__(
        self, zygote: Zygote, folder: Path, driver: str, seed: int, *, others: Sequence[str] = (),
        tell: Callable[[str], object] = lambda _line: None, crowd: int = 20,
        only: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`others` are the drivers of stores that images are pulled into. `tell` hears of each step.

        `crowd` containers stand by; `only` these kinds of operations are done.
        """
        self.chance, self.seed, self.driver, self.tell = random.Random(seed), seed, driver, tell
        self.folder, self.zygote = folder, zygote
        folder.mkdir()
        self.registry = FakeRegistry()
        self.box = Box(zygote, folder / "store", driver)
        self.others = others or (driver,)
        self.world = World()
        self.chooser = Chooser(self.world, self.chance, folder, self.registry.host, only)
        self.steps = self.operations = self.killed = self.compared = self.pulled = 0
        self.history: list[str] = []
        self._littered = False
        self._settle(crowd)

    def _settle(self, crowd: int) -> None:
        """A store that is in use: containers of an image that nobody touches."""
        tree = Maker(self.chance).tree()
        self._base = f"{self.registry.host}/local/base:1"
        path = self.folder / "base.tar"
        path.write_bytes(write(tree))
        self.box.do("import", str(path), self._base)
        self.world.set(("name", self._base), {self.world.know(tree)})
        self._call("crowd", "make", str(self.box.root), self.driver, self._base, crowd)

    def _call(self, *words: Any) -> Any:
        said = self.zygote.ask(call=list(words))
        self._check(said.code == 0, f"{words[0]}.{words[1]} failed: {said.err}")
        return said.value

    def close(self) -> None:
        """Stop the registry and remove everything."""
        self.registry.close()
        for path in self.folder.iterdir():
            if path.is_dir():
                self.zygote.call("remove", path)
        shutil.rmtree(self.folder, ignore_errors=True)

    # steps

    def run(self, steps: int, *, compare: int = 5, pull: int = 15) -> None:
        """So many steps; every so many of them a comparison, and a pull into an empty store. Raises Wrong."""
        for number in range(1, steps + 1):
            self.step()
            if number % pull == 0 or number == steps:
                self.compare()
                self.elsewhere()
            elif number % compare == 0:
                self.compare()

    def step(self) -> None:
        """One round, and a look at all that is stored."""
        self.steps += 1
        operations = self.chooser.round(self.chance.choice((1, 2, 2, 3, 4)))
        kills = [self._kill() if self.chance.random() < _KILLED else {} for _ in operations]
        self._note(operations, kills)
        round_ = self._run(operations, kills)
        for place, found in after(self.world, round_).items():
            self.world.set(place, found)
        self._judge(round_)
        self._littered |= any("create" in step.words for e in round_ if e.code for step in e.operation.steps)
        self._sound()

    def _kill(self) -> dict[str, Any]:
        """How a command of the operation is to be killed: at a point, or by the clock."""
        if self.chance.random() < 0.6:
            return {"die": f"*#{self.chance.randint(1, _POINTS)}"}
        return {"alarm": self.chance.uniform(0.002, _LONGEST)}

    def _note(self, operations: list[Operation], kills: list[dict[str, Any]]) -> None:
        for operation, kill in zip(operations, kills, strict=True):
            self.history.append(f"{self.steps}: {operation}{f'   {kill}' if kill else ''}")
            self.tell(self.history[-1])
        self.operations += len(operations)

    def _run(self, operations: list[Operation], kills: list[dict[str, Any]]) -> list[Ended]:
        lists = [
            self._requests(operation, kill) for operation, kill in zip(operations, kills, strict=True)
        ]  # fmt: skip
        answers = self._many(lists)
        return [
            Ended(operation, said[-1].code, any(one.code < 0 for one in said), said[-1].err)
            for operation, said in zip(operations, answers, strict=True)
        ]

    def _requests(self, operation: Operation, kill: dict[str, Any]) -> list[dict[str, Any]]:
        chosen = self.chance.randrange(len(operation.steps))
        pauses = {"pauses": self.chance.randrange(1, 1 << 30)} if self.chance.random() < _PAUSED else {}
        later = [self.chance.uniform(0, _LATER), *[0.0] * len(operation.steps)]
        return [
            self.box.request(
                *step.words, **step.form, **pauses, later=late, **(kill if number == chosen else {})
            )
            for number, (step, late) in enumerate(zip(operation.steps, later, strict=False))
        ]

    def _many(self, lists: list[list[dict[str, Any]]]) -> list[list[Said]]:
        """Run lists of commands side by side; each ends with the first command that fails."""
        said = self.zygote.ask(many=lists, stop=True)
        self._check(said.code == 0, f"the commands did not end: {said.err}")
        return [[Said(one["code"], one["err"], one["value"]) for one in answers] for answers in said.value]

    def _judge(self, round_: list[Ended]) -> None:
        """Whether each has ended as it may."""
        for ended in round_:
            self.killed += ended.killed
            if ended.killed or not ended.code:
                continue
            said = ended.said + self._printed(ended)
            self._check(not self._must_work(ended, round_), f"{ended.operation} failed: {said}")
            lines = ended.said.splitlines()
            self._check(
                any(line.startswith("nacre: ") for line in lines) and "Traceback" not in ended.said,
                f"{ended.operation} ended with {ended.code} and says {said}",
            )

    def _printed(self, ended: Ended) -> str:
        out = ended.operation.steps[-1].form.get("out")
        return Path(str(out)).read_text() if out else ""

    def _must_work(self, ended: Ended, round_: list[Ended]) -> bool:
        others = [other.operation for other in round_ if other is not ended]
        boxes = self._littered or any("create" in step.words for other in others for step in other.steps)
        if (
            boxes and ended.operation.steps[0].words[0] == "rmi"
        ):  # docker keeps an image that a container uses
            return False
        return must_work(self.world, ended.operation, others)

    def _sound(self) -> None:
        """Every blob and every tree gives the bytes of its digest."""
        found = self.zygote.call("complaints", self.box.root, [self._base], True)
        self._check(not found, "; ".join(found))

    # comparisons

    def compare(self) -> None:
        """Nothing is lying about, and each name shows what the model says; so the model is sure again."""
        self._tidy()
        names = self._names()
        for place in {*self.world.places("name"), *(("name", name) for name in names)}:
            may = self.world.may(place)
            self._check(
                None in may if place[1] not in names else may != ABSENT,
                f"{place[1]} is {'there' if place[1] in names else 'gone'}",
            )
            if place[1] not in names:
                self.world.set(place, ABSENT)
        for name, tar in self._exported(self.box, names).items():
            self.world.set(("name", name), {self._one_of(name, tar)})
            self.compared += 1
        self._lines("system", "check")

    def _tidy(self) -> None:
        """Remove the containers of operations that were killed."""
        boxes = [
            name for name in self._lines("ps", "-a", "--format", "{{.Names}}") if not name.startswith(CROWD)
        ]
        if boxes:
            said = self.box.command("rm", "-f", *boxes)
            self._check(said.code == 0, f"rm: {said.err}")
        self._littered = False

    def _names(self) -> list[str]:
        lines = self._lines("images", "--format", "{{.Repository}}:{{.Tag}}")
        return sorted({line.removesuffix(":latest") for line in lines if "<none>" not in line})

    def _lines(self, *words: str) -> list[str]:
        out = self.folder / "lines"
        said = self.box.command(*words, out=str(out))
        self._check(said.code == 0, f"{' '.join(words)}: {out.read_text()}{said.err}")
        return out.read_text().splitlines()

    def _exported(self, box: Box, names: Sequence[str]) -> dict[str, bytes]:
        """All that containers of these images show, through whatever the kernel or nacre gives them."""
        outs = {name: str(self.folder / f"export-{number}") for number, name in enumerate(names)}
        lists: list[list[dict[str, Any]]] = [[] for _ in range(min(_BESIDE, len(names)))]
        for number, (name, out) in enumerate(outs.items()):
            made = f"look-{number}"
            lists[number % _BESIDE] += [
                box.request("create", "--pull", "never", "--name", made, name, "/x"),
                box.request("export", made, out=out),
                box.request("rm", made),
            ]
        for said in self._many(lists) if lists else []:
            self._check(said[-1].code == 0, f"an image cannot be exported: {said[-1].err}")
        return {name: Path(out).read_bytes() for name, out in outs.items()}

    def _one_of(self, name: str, tar: bytes) -> str:
        """Which of the trees that a name may have it is."""
        found = read(tar)
        wrong = []
        for number in filter(None, self.world.may(("name", name))):
            what = difference(self.world.trees[number], found)
            if not what:
                return number
            wrong.append(what)
        raise self._wrong(f"{name} is not what it must be: {'; or '.join(wrong)}")

    def elsewhere(self) -> None:
        """Push every name to a fresh registry, and pull it into an empty store of perhaps another driver."""
        names = [place[1] for place in self.world.places("name")]
        fresh, driver = FakeRegistry(), self.chance.choice(list(self.others))
        there = Box(self.zygote, self.folder / f"empty-{self.steps}", driver)
        targets = {name: f"{fresh.host}/fresh/n{number}:1" for number, name in enumerate(names)}
        try:
            self._each(
                [self.box.request("tag", name, target), self.box.request("push", "-q", target),
                 self.box.request("rmi", target), there.request("pull", "-q", target)]
                for name, target in targets.items()
            )  # fmt: skip
            for target, tar in self._exported(there, list(targets.values())).items():
                (name,) = (name for name in names if targets[name] == target)
                self._one_of(name, tar)
                self.pulled += 1
        finally:
            fresh.close()
            self.zygote.call("remove", there.root)

    def _each(self, lists: Any) -> None:
        waiting = list(lists)
        while waiting:
            beside, waiting = waiting[:_BESIDE], waiting[_BESIDE:]
            for said in self._many(beside):
                self._check(said[-1].code == 0, f"an image cannot be moved: {said[-1].err}")

    def _check(self, holds: bool, message: str) -> None:
        if not holds:
            raise self._wrong(message)

    def _wrong(self, message: str) -> Wrong:
        last = "\n  ".join(self.history[-40:])
        who = "root" if os.geteuid() == 0 else "a user"
        return Wrong(
            f"seed {self.seed}, {self.driver}, {who}, step {self.steps}, operation {self.operations}: "
            f"{message}\n  {last}"
        )
