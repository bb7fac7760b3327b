"""A store beside its model: about a minute of it. `python -m tests.model` goes on for as long as wanted.

NACRE_MODEL_SEED chooses another seed, `random` one that nobody has chosen; a failure tells it.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from .place import Zygote, working
from .runner import Runner, Wrong
from .trees import Maker, Node, difference, read, write
from .world import Ended, Operation, World, after

_STEPS = 45


def _seed() -> int:
    wanted = os.environ.get("NACRE_MODEL_SEED", "1")
    return random.SystemRandom().randrange(1 << 31) if wanted == "random" else int(wanted)


SEED = _seed()


@pytest.mark.parametrize("driver", ["erofs", "overlay", "plain"])
def test_a_store_is_as_its_model(zygote: Zygote, driver: str) -> None:
    drivers = working(zygote)
    if driver not in drivers:
        pytest.skip(f"the driver {driver} does not work here")
    print(f"seed {SEED}")
    runner = Runner(zygote, zygote.folder / f"model-{driver}", driver, SEED, others=drivers)
    try:
        runner.run(_STEPS)
        assert runner.killed
        assert runner.pulled
    finally:
        runner.close()


# ---- the model itself


def test_a_damaged_file_is_found(zygote: Zygote) -> None:
    """What would be missed here would be missed above."""
    driver = working(zygote)[-1]
    runner = Runner(zygote, zygote.folder / "damaged", driver, SEED, crowd=1)
    try:
        runner.compare()
        tars = [
            path for path in Path(runner.box.root, "trees").rglob("layer.tar") if path.stat().st_size > 9000
        ]
        if not tars:
            pytest.skip("layers are folders here")
        with _writable(tars[0]) as file:
            file.seek(5000)
            file.write(b"damaged!")
        with pytest.raises(Wrong, match=f"seed {SEED}, {driver}"):
            runner._sound()
    finally:
        runner.close()


def _writable(path: Path):  # type: ignore[no-untyped-def]
    """Open a file that only root may write."""
    try:
        path.chmod(0o600)
        return path.open("r+b")
    except PermissionError:
        pytest.skip("it belongs to an id of the user namespace")


def test_a_tar_is_read_as_it_was_written() -> None:
    tree = Maker(random.Random(3)).tree()
    assert difference(tree, read(write(tree))) == ""
    other = tree | {"f0": Node("file", 0o600, data=b"other")}
    assert "f0" in difference(tree, read(write(other)))


@pytest.mark.parametrize(
    ("code", "killed", "other", "found"),
    [
        (0, False, False, {"new"}),
        (1, False, False, {"old", "new"}),
        (-9, True, False, {"old", "new"}),
        (0, False, True, {"old", "new", "third"}),
    ],
)
def test_what_may_be(code: int, killed: bool, other: bool, found: set[str]) -> None:
    world, place = World(), ("name", "a")
    world.set(place, {"old"})
    first = Operation((), writes=frozenset([place]), effects=lambda _may: {place: {"new"}})
    second = Operation((), writes=frozenset([place]), effects=lambda _may: {place: {"third"}})
    round_ = [Ended(first, code, killed, "")] + [Ended(second, 0, False, "")] * other
    assert after(world, round_) == {place: found}
