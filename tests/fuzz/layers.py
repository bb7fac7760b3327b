"""The fuzz target for layers: `python -m tests.fuzz.layers --seconds 60`, and an entry for atheris.

    bytes → entries → nodes → index → every number checked → read back, equal
    bytes → extract, beside a folder that must stay as it is

Whatever the bytes are, the outcome is a layer or one of our errors, in bounded time. With atheris installed
`--atheris` hands the target to it; without, `Mutator` makes the inputs, by a seed, so that what fails can be
made to fail again (`--seed`), and the input is kept in a file.
"""

from __future__ import annotations

import argparse
import os
import random
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from nacre.grammars.erofs.inode_tree import to_nodes
from nacre.grammars.erofs.read import ErofsIndex
from nacre.grammars.erofs.write import write_index
from nacre.grammars.layer.nodes import Inode, walk
from nacre.grammars.tar.read import read_tar
from nacre.ground.extract import Form, apply
from nacre.ground.files import remove_tree
from nacre.stores.trees.forms.indexing import INDEX, SPARSE, TAR, index_stream
from nacre.words.errors import NacreError

from .seeds import Mutator, made, others, tar_of
from .validator import validate

SLOWEST = 20.0
"""Seconds for one input of at most a quarter of a MiB, on the slowest machine: a loop, not a load."""
BIGGEST = 1 << 30
"""Bytes of sparse content for which files are made; larger is tried by the grammar alone."""


def _indexed(data: bytes, folder: str) -> Inode:
    """Fill `folder`; what went into the index, which is no longer to be had once it is laid out."""
    roots = []

    def write(inodes: Any, *rest: Any) -> None:
        roots.append(to_nodes(inodes))
        write_index(inodes, *rest)

    with mock.patch("nacre.stores.trees.forms.indexing.write_index", write):
        index_stream(tar_of(data), folder)
    return roots[0]


class Target:
    """Everything that is done with one input, in a scratch folder of its own."""

    def __init__(self, folder: str) -> None:
        self.folder, self.count, self.refused, self.sentence = folder, 0, 0, "-"
        self._fresh()

    def _fresh(self) -> None:
        remove_tree(f"{self.folder}/x")
        for name in ("x", "x/index", "x/root", "x/outside"):
            os.mkdir(f"{self.folder}/{name}", 0o700)

    def one(self, data: bytes) -> None:
        """Raises whatever is a mistake of ours."""
        self.count += 1
        begun = time.monotonic()
        try:
            if self._entries(data) <= BIGGEST:
                self.index(data)
                self.extract(data)
        except NacreError as error:
            self.refused += 1
            self.sentence = error.message
        finally:
            self._fresh()
        assert time.monotonic() - begun < SLOWEST, "too slow"
        assert self.sentence
        assert "\n" not in self.sentence, self.sentence

    def _entries(self, data: bytes) -> int:
        """Bytes of content, holes included."""
        total = 0
        for entry, payload in read_tar(tar_of(data)):
            given = 0
            while piece := payload.read(1 << 16):
                given += len(piece)
            assert given == entry.stored or entry.kind != "file"
            total += entry.size
        return total

    def index(self, data: bytes) -> None:
        """The index is valid for the kernel, and we read from it what went in."""
        folder = f"{self.folder}/x/index"
        there = list(walk(_indexed(data, folder)))
        index = Path(folder, INDEX).read_bytes()
        devices = [
            os.path.getsize(f"{folder}/{name}")
            for name in (TAR, SPARSE)
            if os.path.exists(f"{folder}/{name}")
        ]
        count = validate(index, devices)
        back = list(walk(ErofsIndex(index).tree()))
        assert [path for path, _ in back] == [path for path, _ in there]
        assert len({id(node) for _, node in back}) == count
        for (path, one), (_, two) in zip(back, there, strict=True):
            names = ("mode", "uid", "gid", "mtime_ns", "link", "rdev", "implied")
            names += ("size", "device", "block") if stat.S_ISREG(two.mode) and two.size else ()
            assert all(getattr(one, name) == getattr(two, name) for name in names), path

    def extract(self, data: bytes) -> None:
        """Nothing beside the root is touched."""
        before = os.lstat(f"{self.folder}/x/outside")
        root = os.open(f"{self.folder}/x/root", os.O_RDONLY | os.O_DIRECTORY)
        try:
            apply(tar_of(data), root, Form(whiteouts="delete", owners=False, devices=False))
        finally:
            os.close(root)
            after = os.lstat(f"{self.folder}/x/outside")
            assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
            assert sorted(os.listdir(f"{self.folder}/x")) == ["index", "outside", "root"]


def run(seconds: float, seed: int, inputs: int = 1 << 62, keep: str = "") -> Target:
    """Try inputs for so long, or so many. What fails is written to `keep` and raised."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        target, mutator = Target(folder), Mutator(made() + others(), random.Random(seed))
        end = time.monotonic() + seconds
        while time.monotonic() < end and target.count < inputs:
            data = mutator.make()
            try:
                target.one(data)
            except BaseException:
                if keep:
                    Path(keep).write_bytes(data)
                raise
    return target


def TestOneInput(data: bytes) -> None:
    """Atheris calls this."""
    with tempfile.TemporaryDirectory() as folder:
        Target(folder).one(data)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.layers")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", default="failing.tar")
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("files", nargs="*", help="try these instead")
    args = parser.parse_args()
    if args.atheris:
        import atheris  # type: ignore[import-not-found]

        atheris.Setup(sys.argv[:1], TestOneInput)
        atheris.Fuzz()
    for name in args.files:
        TestOneInput(Path(name).read_bytes())
    if not args.files:
        done = run(args.seconds, args.seed, keep=args.keep)
        print(f"seed {args.seed}: {done.count} inputs, {done.refused} refused")


if __name__ == "__main__":
    main()
