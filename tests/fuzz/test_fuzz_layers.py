"""A few seconds of the fuzz target, the corpus through it, and indexes that a disk has damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tarmaker import DIALECTS, apart, damaged

from nacre.grammars.codecs.stream import decompress
from nacre.grammars.erofs.format import SUPER, crc32c
from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.layer.nodes import walk
from nacre.stores.trees.forms.indexing import INDEX, index_stream
from nacre.words.errors import InvalidArchive, NacreError

from .layers import Target, run
from .seeds import made, tar_of
from .validator import Invalid, validate


def test_the_seeds_are_fine_or_refused(tmp_path: Path) -> None:
    target = Target(str(tmp_path))
    for data in made():
        target.one(data)
    assert target.refused <= 3


def test_mutated_layers() -> None:
    """A fixed seed and number: the same inputs everywhere. `python -m tests.fuzz.layers` tries others."""
    done = run(seconds=30, seed=1, inputs=2000)
    assert done.refused < done.count


def test_every_dialect_and_every_damage(tmp_path: Path) -> None:
    target = Target(str(tmp_path))
    for dialect in DIALECTS:
        target.one(apart(dialect))
    assert not target.refused, target.sentence
    for data in damaged().values():
        target.one(data)
    assert target.refused == len(damaged())


@pytest.mark.parametrize(
    "folder", ["tar-go", "tar-cpython", "tar-libarchive", "archives-ggcr", "archives-containers"]
)
def test_the_archives_of_other_projects(corpus: Callable[..., Path], folder: str, tmp_path: Path) -> None:
    """Each through everything: indexed for the kernel, extracted, or refused with one sentence."""
    target, tried = Target(str(tmp_path)), 0
    for path in sorted(found for found in corpus(folder).rglob("*") if found.is_file()):
        data = _content(path)
        if data is not None:
            target.one(data)
            tried += 1
    assert tried > 1
    assert target.refused < tried


def _content(path: Path) -> bytes | None:
    """What is compressed there; None for what is larger than a test should take, or no tar at all."""
    data = bytearray()
    with path.open("rb") as stream:
        try:
            reader = decompress(stream)
            while len(data) < 8 << 20 and (piece := reader.read(1 << 16)):
                data += piece
        except NacreError:
            return None
    return bytes(data) if len(data) < 8 << 20 and data[257:262] == b"ustar" else None


def indexes(folder: Path) -> list[bytes]:
    found = []
    for number, data in enumerate(made()):
        place = folder / str(number)
        place.mkdir()
        try:
            index_stream(tar_of(data), str(place))
        except InvalidArchive:
            continue
        found.append((place / INDEX).read_bytes())
    return found


def test_damaged_indexes_end_in_one_error(tmp_path: Path) -> None:
    """Read by us: never a loop, never beyond the end, never another error."""
    chance, refused = random.Random(2), 0
    whole = indexes(tmp_path)
    for _ in range(1500):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(SUPER, len(data))
            data[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, chance.randbytes(4)))[: len(data) - at]
        if chance.random() < 0.7:
            data[SUPER + 4 : SUPER + 8] = bytes(4)
            data[SUPER + 4 : SUPER + 8] = crc32c(data[SUPER : SUPER + 512]).to_bytes(4, "little")
        try:
            _read(bytes(data))
        except InvalidArchive:
            refused += 1
    assert 100 < refused < 1500


def _read(data: bytes) -> None:
    index = ErofsIndex(data)
    nodes = sum(1 for _ in walk(index.tree()))
    assert nodes <= len(data)
    pending = [index.root]
    for nid in pending:
        assert index.lookup(nid, b"absent") is None
        pending += [child for name, child in index.names(nid) if index.lookup(nid, name) == child]


@pytest.mark.parametrize("at", [0, 14, 36, 80, 86, 128, 132])
def test_the_validator_sees_what_is_wrong(tmp_path: Path, at: int) -> None:
    """It is the proof, so it has to be one: damage in the head and in the table of devices is found."""
    data = bytearray(indexes(tmp_path)[0])
    data[SUPER + at + 64 * (at >= 128)] ^= 0x5A
    data[SUPER + 4 : SUPER + 8] = bytes(4)
    data[SUPER + 4 : SUPER + 8] = crc32c(data[SUPER : SUPER + 512]).to_bytes(4, "little")
    with pytest.raises(Invalid):
        validate(bytes(data), [(tmp_path / "0" / "layer.tar").stat().st_size])


def test_the_validator_sees_every_kind_of_damage(tmp_path: Path) -> None:
    """Each byte of the index changed in turn: what the validator lets pass, it must let pass rightly.

    Owners, times, permissions, contents of links and attributes, and what the kernel does not read
    may be anything; offsets, sizes, counts and types may not.
    """
    data, size = indexes(tmp_path)[0], (tmp_path / "0" / "layer.tar").stat().st_size
    assert validate(data, [size]) > 10
    passed = 0
    for at in range(SUPER + 512, len(data)):
        changed = data[:at] + bytes([data[at] ^ 0x81]) + data[at + 1 :]
        try:
            validate(changed, [size])
        except (Invalid, InvalidArchive):
            continue
        passed += 1
        _read_or_refuse(changed)
    assert passed < 0.9 * len(data)


def _read_or_refuse(data: bytes) -> None:
    try:
        _read(data)
    except InvalidArchive:
        return
