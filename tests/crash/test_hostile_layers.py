"""Hostile layers on every driver: refused with one sentence, or the same tree everywhere; bounded, inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from bench import Zygote, drivers
from hostile import MEMORY, SECONDS, layers

REFUSED = (
    "climbing", "a loop of links", "hard through a link out", "hard to itself",
    "hard to a folder", "hard to nothing", "whiteout of the root", "whiteout of the folder",
    "whiteout of the parent", "the root as a file", "the root as a link",
    "a file used as a folder", "size too large", "size below zero", "size of 8 EiB", "size not octal",
    "ids beyond 32 bits", "the id that means none", "sparse that overlaps", "sparse backwards",
    "sparse beyond the end", "sparse of other length", "sparse with a count that lies",
    "sparse map of odd length", "a flood of long names", "a flood of records", "a header of 2 GiB",
    "records only", "a name of 100 kB", "a path of 100 kB", "a link of 100 kB", "a name of 256",
    "an attribute of 64 KiB", "an access list of nonsense", "capabilities of nonsense", "unknown types",
    "after a lone zero block", "text", "time beyond the world",
)  # fmt: skip


def test_every_layer_on_every_driver(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    before = _look(tmp_path)
    names, complaints = drivers(zygote, zygote.folder), []
    found = {driver: _outcomes(zygote, driver) for driver in names}
    for name in layers():
        said = {driver: found[driver][name] for driver in names}
        complaints += [(name, complaint) for complaint in _wrong(zygote, name, said)]
    assert _look(tmp_path) == before
    assert complaints == [], "\n".join(map(str, complaints))
    for driver in names:
        assert sorted(os.listdir(zygote.folder / f"hostile-{driver}" / "ingest")) == []


def test_a_million_entries(zygote: Zygote) -> None:
    """Where no file is made of an entry; the other drivers only take longer."""
    if "erofs" not in drivers(zygote, zygote.folder):
        pytest.skip("the driver erofs does not work here")
    said = zygote.ask(call=["hostile", "million", str(zygote.folder / "million"), "erofs"])
    assert said.code == 0, said.err
    memory, folders, names = said.value
    assert (folders, names) == (1000, 1000)
    assert memory < 2 * MEMORY, f"{memory} KiB"


def _outcomes(zygote: Zygote, driver: str) -> Any:
    said = zygote.ask(call=["hostile", "outcomes", str(zygote.folder / f"hostile-{driver}"), driver])
    assert said.code == 0, (driver, said.code, said.err)
    return said.value


def _wrong(zygote: Zygote, name: str, said: dict[str, Any]) -> list[str]:
    found = []
    for driver, (text, seconds, memory) in said.items():
        if not text.startswith(("ok ", "refused: ")) or "\n" in text or len(text) > 900:
            found.append(f"{driver}: {text}")
        if name in REFUSED and text.startswith("ok"):
            found.append(f"{driver} takes it")
        if seconds > SECONDS or memory > MEMORY:
            found.append(f"{driver}: {seconds:.1f} s, {memory} KiB")
    texts = {driver: text if text.startswith("ok") else "refused" for driver, (text, _, _) in said.items()}
    if len(set(texts.values())) > 1:
        found.append(f"the drivers differ: {said} {_difference(zygote, name, texts)}")
    return found


def _difference(zygote: Zygote, name: str, texts: dict[str, str]) -> list[Any]:
    """Rows that not every driver has."""
    rows = []
    for driver, text in texts.items():
        if text.startswith("ok"):
            root = str(zygote.folder / f"hostile-{driver}")
            rows.append(set(zygote.ask(call=["hostile", "listing", root, driver, name]).value))
    return sorted(set.union(*rows) - set.intersection(*rows))[:6] if len(rows) > 1 else []


def _look(folder: Path) -> list[Any]:
    """A folder beside, and where the climbing ones aim."""
    there = os.stat("/tmp")
    return [
        sorted(os.listdir(folder)),
        os.listdir(folder / "outside"),
        os.path.exists("/tmp/x"),
        there.st_mode,
    ]
