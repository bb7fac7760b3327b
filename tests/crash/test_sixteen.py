"""Sixteen processes on one store, their commands mixed by a seed: nothing is lost and nobody is stuck."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from bench import KEPT, Box, Zygote, drivers
from fakeregistry import FakeRegistry
from scenarios import prepare

PROCESSES = 16


class User:
    """One of them: names of its own, content that is everybody's."""

    def __init__(self, box: Box, number: int, pulled: str, random: random.Random) -> None:
        self._box, self._mine, self._pulled = box, f"user{number}", pulled
        self.requests: list[dict[str, Any]] = []
        self.names: set[str] = set()
        first = [self.pull, self.build, self.load][number % 3]
        rest = random.sample([self.tag, self.drop, self.prune, self.run, self.sweep, self.build], 3)
        for step in (first, *rest):
            step()

    def _do(self, *words: str, **request: str) -> None:
        self.requests.append(self._box.request(*words, **request))

    def pull(self) -> None:
        self._do("pull", "-q", self._pulled)
        self.names.add(self._pulled)

    def load(self) -> None:
        self._do("load", "-q", **{"in": str(self._box.zygote.folder / "loaded.tar")})
        self.names.add("loaded:1")

    def build(self) -> None:
        name = f"{self._mine}-built:1"
        self._do("build", "-q", "-t", name, str(self._box.zygote.folder / "context"))
        self.names.add(name)

    def tag(self) -> None:
        for number in (1, 2):
            self._do("tag", KEPT[1], f"{self._mine}:{number}")
        self.names |= {f"{self._mine}:1", f"{self._mine}:2"}

    def drop(self) -> None:
        self._do("tag", KEPT[1], f"{self._mine}-gone:1")
        self._do("rmi", f"{self._mine}-gone:1")

    def run(self) -> None:
        self._do("run", "--rm", "busybox:1", "sh", "-c", "echo x > /x")

    def prune(self) -> None:
        self._do("system", "prune", "-f")

    def sweep(self) -> None:
        self._do("image", "prune", "-f")


@pytest.mark.parametrize("seed", range(int(os.environ.get("NACRE_SEEDS", "2"))))
def test_sixteen_at_once(zygote: Zygote, busybox_tar: bytes, fake: FakeRegistry, seed: int) -> None:
    names = drivers(zygote, zygote.folder)
    box = Box(zygote, zygote.folder / f"sixteen-{seed}", names[seed % len(names)])
    pulled = prepare(box, busybox_tar, fake)["pull"].makes
    chance = random.Random(seed)
    users = [User(box, number, pulled, chance) for number in range(PROCESSES)]
    said = zygote.ask(many=[user.requests for user in users])
    assert said.code == 0, said.err
    wrong = [
        (request["words"], answer)
        for user, answers in zip(users, said.value, strict=True)
        for request, answer in zip(user.requests, answers, strict=True)
        if answer["code"]
    ]
    assert wrong == [], "\n".join(map(str, wrong))
    box.do("system", "prune", "-f")
    box.is_sound((*KEPT, *{name for user in users for name in user.names}))
    box.is_tidy(containers=0)
    box.remove()
