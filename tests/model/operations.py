"""Operations on a store, chosen at random: what they run, and what the model makes of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from .trees import Maker, Node, Tree, archive, without, write
from .world import ABSENT, Effects, May, Operation, Place, Step, World

_LOCAL, _IN_A_ROW = 5, 3
REPOSITORIES = tuple(f"model/r{number}:1" for number in range(3))
FORMS = ("", "", "gzip", "zstd", "zstd:chunked", "none")
PRUNES = ("image prune -f", "image prune -f", "builder prune -f", "builder prune -a -f", "volume prune -f")
"""Not that of the system: it removes the containers that stand by."""

WEIGHTS = {
    "import": 11, "archive": 5, "build": 6, "commit": 5, "tag": 3, "remove": 12, "pull": 6, "push": 5,
    "save": 3, "load": 3, "prune": 5, "prune_all": 1, "check": 2, "repair": 1,
}  # fmt: skip


def _name(text: str) -> Place:
    return "name", text


class Chooser:
    """Makes operations for one store. Their files lie in `folder`."""

    def __init__(
        self, world: World, chance: random.Random, folder: Path, registry: str, only: Sequence[str] = ()
    ) -> None:
        """`only` these kinds of operations; () is all."""
        self._weights = {kind: weight for kind, weight in WEIGHTS.items() if not only or kind in only}
        self.world, self.chance, self.folder, self.registry = world, chance, folder, registry
        self.maker = Maker(chance)
        self._count = 0
        self._names = [f"{registry}/local/m{number}:1" for number in range(_LOCAL)]
        """All names are of the registry, so that nothing is looked for elsewhere."""
        self._pulled = [f"{registry}/{repository}" for repository in REPOSITORIES]

    def round(self, count: int) -> list[Operation]:
        """So many, to run side by side; what is made beside a removal prefers the contents that go."""
        kinds = self.chance.choices(list(self._weights), list(self._weights.values()), k=count)
        self.maker.liked = []
        made = [self._one(kind) for kind in sorted(kinds, key=lambda kind: kind not in ("remove", "prune"))]
        self.chance.shuffle(made)
        return made

    def _one(self, kind: str) -> Operation:
        """What has nothing to work on is an import."""
        made: Operation | None = getattr(self, f"_{kind}")()
        return made or self._import()

    def _new(self, ending: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count}{ending}"

    def _file(self, ending: str, data: bytes, mode: int = 0o644) -> Path:
        path = self._new(ending)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def _some(self, kind: str) -> Place | None:
        places = self.world.places(kind)
        return self.chance.choice(places) if places else None

    def _target(self) -> Place:
        return _name(self.chance.choice(self._names))

    def _makes(self, target: Place, tree: Tree) -> Callable[[object], Effects]:
        number = self.world.know(tree)
        return lambda _may: {target: {number}}

    def _is_ours(self, place: Place) -> bool:
        """Not the image of the containers that stand by."""
        return place[1] in (*self._names, *self._pulled)

    # content from outside

    def _import(self) -> Operation:
        """One after the other, each under a name of its own."""
        steps, found = [], {}
        for name in self.chance.sample(self._names, self.chance.randint(1, _IN_A_ROW)):
            tree = self.maker.tree()
            steps.append(Step(("import", str(self._file(".tar", write(tree))), name)))
            found[_name(name)] = {self.world.know(tree)}
        return Operation(tuple(steps), writes=frozenset(found), effects=lambda _may: dict(found))

    def _archive(self) -> Operation:
        """Several layers, of which upper ones remove and replace."""
        target, tree = self._target(), self.maker.tree()
        layers = [write(tree)]
        for _ in range(self.chance.randint(1, 3)):
            removed = self.maker.removals(tree)
            tree = without(tree, removed)
            upper = self.maker.changes([tree])
            tree = tree | upper
            layers.append(write(upper, removed))
        path = self._file(".docker.tar", archive(target[1], layers))
        step = Step(("load", "-q", "-i", str(path)))
        return Operation((step,), writes=frozenset([target]), effects=self._makes(target, tree))

    # content of other content

    def _derived(
        self, source: Place, target: Place, upper: Tree
    ) -> Callable[[Callable[[Place], May]], Effects]:
        def effects(may: Callable[[Place], May]) -> Effects:
            trees = [self.world.trees[number] for number in may(source) if number is not None]
            return {target: {self.world.know(tree | upper) for tree in trees}}

        return effects

    def _build(self) -> Operation | None:
        source, target = self._some("name"), self._target()
        if source is None or source[1] in self._pulled:  # what is gone would be pulled again
            return None
        upper = self.maker.changes(self.world.trees_at(source))
        context = self._new(".context")
        context.mkdir()
        lines = [f"FROM {source[1]}"]
        for number, (path, node) in enumerate(upper.items()):
            (context / f"c{number}").write_bytes(node.data)
            lines.append(f"COPY --chmod={node.mode:o} --chown={node.uid}:{node.gid} c{number} /{path}")
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        step = Step(("build", "-q", "-t", target[1], str(context)))
        return Operation(
            (step,), frozenset([source]), frozenset([target]), self._derived(source, target, upper)
        )  # fmt: skip

    def _commit(self) -> Operation | None:
        source, target = self._some("name"), self._target()
        if source is None:
            return None
        upper = {
            path: Node("file", node.mode & 0o777, 0, 0, node.data)
            for path, node in self.maker.changes(self.world.trees_at(source)).items()
        }
        box = f"box-{self._count}"
        steps = [Step(("create", "--pull", "never", "--name", box, source[1], "/x"))]
        for path, node in upper.items():
            file = self._file(".file", node.data, node.mode)
            steps.append(Step(("cp", str(file), f"{box}:/{path}")))
        steps += [Step(("commit", box, target[1])), Step(("rm", box))]
        return Operation(
            tuple(steps), frozenset([source]), frozenset([target]), self._derived(source, target, upper)
        )  # fmt: skip

    def _copies(self, source: Place, targets: list[Place], *steps: Step) -> Operation:
        def effects(may: Callable[[Place], May]) -> Effects:
            return {target: may(source) - ABSENT for target in targets}

        return Operation(steps, frozenset([source]), frozenset(targets), effects)

    def _tag(self) -> Operation | None:
        source, target = self._some("name"), self._target()
        return source and self._copies(source, [target], Step(("tag", source[1], target[1])))

    def _push(self) -> Operation | None:
        source = self._some("name")
        if source is None:
            return None
        repository = self.chance.choice(REPOSITORIES)
        full, form = f"{self.registry}/{repository}", self.chance.choice(FORMS)
        options = (f"--compression={form}", "--force-compression") if form else ()
        steps = Step(("tag", source[1], full)), Step(("push", "-q", *options, full))
        return self._copies(source, [_name(full), ("remote", repository)], *steps)

    def _pull(self) -> Operation | None:
        source = self._some("remote")
        full = f"{self.registry}/{source[1]}" if source else ""
        return source and self._copies(source, [_name(full)], Step(("pull", "-q", full)))

    def _save(self) -> Operation | None:
        source = self._some("name")
        if source is None or not self._is_ours(source):
            return None
        return self._copies(
            source, [("file", source[1])], Step(("save", "-o", self._saved(source), source[1]))
        )

    def _saved(self, place: Place) -> str:
        return str(self.folder / f"{place[1].replace('/', '_').replace(':', '_')}.saved")

    def _load(self) -> Operation | None:
        """What was saved has its name inside."""
        source = self._some("file")
        if source is None:
            return None
        return self._copies(source, [_name(source[1])], Step(("load", "-q", "-i", self._saved(source))))

    # less content

    def _remove(self) -> Operation | None:
        """One after the other."""
        places = [place for place in self.world.places("name") if self._is_ours(place)]
        if not places:
            return None
        doomed = self.chance.sample(places, self.chance.randint(1, min(_IN_A_ROW, len(places))))
        for place in doomed:
            self.maker.like(self.world.trees_at(place))
        steps = tuple(Step(("rmi", name)) for _, name in doomed)
        gone = frozenset(doomed)
        return Operation(steps, gone, gone, lambda _may: dict.fromkeys(gone, ABSENT))

    def _prune(self) -> Operation:
        self.maker.like(self.world.take_replaced())
        return Operation((Step(tuple(self.chance.choice(PRUNES).split())),))

    def _prune_all(self) -> Operation:
        names = [_name(name) for name in (*self._names, *self._pulled)]
        step = Step(("image", "prune", "-a", "-f"))

        def effects(may: Callable[[Place], May]) -> Effects:
            return {name: may(name) | ABSENT for name in names}

        return Operation((step,), writes=frozenset(names), effects=effects, wide=True)

    def _check(self) -> Operation:
        return Operation((Step(("system", "check"), {"out": str(self.folder / "check")}),))

    def _repair(self) -> Operation:
        return Operation((Step(("system", "check", "--repair"), {"out": str(self.folder / "repair")}),))
