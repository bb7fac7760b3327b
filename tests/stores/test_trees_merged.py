"""Many layers behind one index: the same files as through all of them, made once and only when it pays."""

from __future__ import annotations

import io
import os
import random
from contextlib import suppress
from pathlib import Path

import pytest
from storekit import file, folder, layer, link
from test_trees_erofs import Mounted, kit, same, sparse, sparse_layer, unpacked
from treekit import Kit, drop_tree

from nacre.grammars.tar.entry import Entry
from nacre.ground import userns
from nacre.stores import Store
from nacre.stores.trees.roots.mounted import MOST_INDEXES as MOST
from nacre.words.digest import Digest
from nacre.words.errors import InvalidArchive, StoreError
from nacre.words.mount import Erofs, Overlay

__all__ = ["kit", "unpacked"]

pytestmark = pytest.mark.skipif(not userns.mapped(), reason="needs root that may mount")


def numbered(kit: Kit, numbers: range) -> list[Digest]:
    made = (layer(folder("d", mode=0o700 + n % 64), file(f"d/{n}", b"%d" % n)) for n in numbers)
    return [kit.trees.ingest(io.BytesIO(data)) for data in made]


def lowers(kit: Kit, layers: list[Digest]) -> tuple[str | Erofs, ...]:
    mount = kit.trees.view(layers)
    assert isinstance(mount, Overlay)
    return tuple(lower for lower in mount.lowers if not str(lower).endswith("/.empty"))


def indexes(kit: Kit) -> list[str]:
    return sorted(str(path) for path in Path(kit.root).glob("trees/*/merged-*"))


def test_low_stacks_are_left_alone(kit: Kit) -> None:
    layers = numbered(kit, range(MOST))
    assert len(lowers(kit, layers)) == MOST
    assert indexes(kit) == []


def test_a_tall_stack_is_one_index_and_grows_in_steps(kit: Kit) -> None:
    layers = numbered(kit, range(2 * MOST + 2))
    [merged] = lowers(kit, layers[: MOST + 1])
    assert isinstance(merged, Erofs)
    assert [path.split("/")[-2] for path in merged.devices] == [d.hex for d in layers[: MOST + 1]]
    before = os.stat(merged.index)
    assert lowers(kit, layers[: MOST + 1]) == (merged,)
    assert os.stat(merged.index).st_ino == before.st_ino
    taller = lowers(kit, layers[:-1])
    assert (len(taller), taller[-1]) == (MOST + 1, merged)
    assert indexes(kit) == [merged.index]
    [tallest] = lowers(kit, layers)
    assert isinstance(tallest, Erofs)
    assert indexes(kit) == sorted([merged.index, tallest.index])
    with Mounted(kit.trees.view(layers)) as top:
        assert sorted(os.listdir(top / "d"), key=int) == [str(n) for n in range(len(layers))]
        assert (top / "d/20").read_bytes() == b"20"


def test_other_layers_beneath_are_another_stack(kit: Kit) -> None:
    layers = numbered(kit, range(MOST + 2))
    one, other = layers[1:], layers[:1] + layers[2:]
    assert lowers(kit, one) != lowers(kit, other)
    for stack, missing in ((one, "0"), (other, "1")):
        with Mounted(kit.trees.view(stack)) as top:
            assert not (top / "d" / missing).exists()
            assert len(os.listdir(top / "d")) == MOST + 1


def test_it_goes_with_its_topmost_layer(kit: Kit) -> None:
    layers = numbered(kit, range(MOST + 1))
    lowers(kit, layers)
    drop_tree(kit, layers[-1])
    assert indexes(kit) == []


def test_trees_of_other_drivers_end_it(store: Store, kit: Kit) -> None:
    other = Kit(store, driver="overlay")
    layers = (
        numbered(kit, range(MOST + 1)) + numbered(other, range(100, 101)) + numbered(kit, range(200, 240))
    )
    found = lowers(kit, layers)
    assert [isinstance(lower, Erofs) for lower in found] == [True] * 40 + [False] + [True]
    with Mounted(kit.trees.view(layers)) as top:
        assert len(os.listdir(top / "d")) == len(layers)
    assert lowers(other, layers) == found, "a root shows layers of any form, whatever new ones become"


def test_what_is_written_on_it_becomes_a_layer(kit: Kit) -> None:
    layers = numbered(kit, range(MOST + 5))
    active = kit.actives.prepare("k", layers)
    with Mounted(active.mount) as top:
        os.unlink(top / "d/3")
        (top / "d/4").write_bytes(b"changed")
        os.rename(top / "d/5", top / "moved")
    layers.append(kit.actives.commit(active, io.BytesIO().write))
    with Mounted(kit.trees.view(layers)) as top:
        assert not (top / "d/3").exists()
        assert (top / "d/4").read_bytes() == b"changed"
        assert (top / "moved").read_bytes() == b"5"


def test_a_damaged_layer_is_named(kit: Kit) -> None:
    layers = numbered(kit, range(MOST + 1))
    index = Path(kit.trees.rows.folder(layers[3]), "index.erofs")
    data = index.read_bytes()
    index.unlink()
    index.write_bytes(data[:1100] + b"\xff" + data[1101:])
    with pytest.raises(StoreError, match=layers[3].hex):
        kit.trees.view(layers)
    assert indexes(kit) == []


def test_sparse_files_of_several_layers(kit: Kit, unpacked: Kit) -> None:
    layers = [
        sparse_layer(sparse(b"s%d" % n, 1 << 20, (n * 4096, b"%d" % n * 9)), (Entry(b"p", size=1), b"p"))
        if n % 3 else layer(file(f"f{n}", b"f" * n))
        for n in range(MOST + 4)
    ]  # fmt: skip
    same(kit, unpacked, *layers)
    assert len(indexes(kit)) == 1


def tangled(chance: random.Random) -> bytes:
    """A layer of few names, so that layers keep meeting one another."""
    members: list[Entry | tuple[Entry, bytes]] = []
    for _ in range(chance.randrange(1, 6)):
        parts = [chance.choice("abc") for _ in range(chance.randrange(1, 4))]
        above, path = "/".join(parts[:-1]), "/".join(parts)
        looks = {
            "mode": 0o600 + chance.randrange(64),
            "mtime_ns": chance.randrange(9) * 10**9,
            "uid": chance.randrange(3),
        }
        kind = chance.choice(["file", "file", "dir", "dir", "link", "white", "opaque"])
        if kind == "file":
            members.append(file(path, chance.randbytes(chance.randrange(3)), **looks))
        elif kind == "dir":
            members.append(folder(path, **looks))
        elif kind == "link" and len(parts) == 1:
            members.append(link("l" + path, chance.choice("abc")))
        elif kind == "white":
            members.append(file(f"{above}/.wh.{parts[-1]}".lstrip("/")))
        elif above:
            members.append(file(f"{above}/.wh..wh..opq"))
    return layer(*members)


@pytest.mark.parametrize("seed", range(12))
def test_tangled_layers(kit: Kit, unpacked: Kit, seed: int) -> None:
    chance = random.Random(seed)
    layers: list[bytes] = []
    while len(layers) <= MOST + 1:
        data = tangled(chance)
        with suppress(InvalidArchive):  # a file and something beneath it
            unpacked.trees.ingest(io.BytesIO(data))
            layers += [data] * (data not in layers)
    same(kit, unpacked, *layers)
    assert len(indexes(kit)) == 1


def test_layers_that_borrow_from_each_other(kit: Kit, unpacked: Kit) -> None:
    """A tar is one device, however many layers point into it."""
    files = [file(f"d/{n}", random.Random(n).randbytes(3000)) for n in range(MOST + 2)]
    layers = [layer(*files[: n + 1], file(f"own/{n}", b"%d" % n * 999)) for n in range(MOST + 2)]
    same(kit, unpacked, *layers)
    [merged] = lowers(kit, [Digest.of(data) for data in layers])
    assert isinstance(merged, Erofs)
    assert len(merged.devices) == len({os.stat(path).st_ino for path in merged.devices}) == len(layers)


def test_a_layer_made_again_is_merged_again(kit: Kit) -> None:
    """What it is made of may lie elsewhere the next time."""
    data = random.Random(1).randbytes(5000)
    layers = [*numbered(kit, range(MOST)), kit.trees.ingest(io.BytesIO(layer(file("f", data))))]
    lowest = layer(file("f", data), file("g", data[::-1]))
    bottom = kit.trees.ingest(io.BytesIO(lowest))
    [before] = lowers(kit, [bottom, *layers])
    drop_tree(kit, bottom)
    copy = kit.trees.ingest(io.BytesIO(layer(file("f", data[::-1]))))
    assert kit.trees.ingest(io.BytesIO(lowest)) == bottom
    [after] = lowers(kit, [bottom, *layers])
    assert before != after
    with Mounted(kit.trees.view([bottom, *layers, copy])) as top:
        assert (top / "g").read_bytes() == data[::-1]
