"""How commands grow with what a store holds: images, containers, layers, files. Only ours is measured."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .bench import Bench
from .harness import Case, Scenario, Skip
from .peers import Nacre, busybox_tar

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_LAYERS = (1, 8, 32, 127)
_MOST_FILES = 1_000_000
_CREATE = """
import sys
from nacre.engine import Config, Engine
with Engine(Config(root=sys.argv[1])) as engine:
    for number in range(int(sys.argv[2])):
        engine.containers.create(f"app{number % int(sys.argv[3])}:1")
"""


class Layout:
    """An archive in the OCI image layout with any number of images, which share what is equal."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "w")
        self._written: set[str] = set()
        self._entries: list[dict[str, object]] = []

    def add(self, name: str, layers: Sequence[bytes]) -> None:
        """An image `docker.io/library/NAME:1` of uncompressed layers."""
        diff_ids = ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]
        config = self._json(
            architecture="amd64", os="linux", created="2026-01-01T00:00:00Z",
            config={"Cmd": ["true"], "Env": ["PATH=/bin"], "Labels": {"name": name}},
            rootfs={"type": "layers", "diff_ids": diff_ids},
        )  # fmt: skip
        inside = [self._blob(layer, _LAYER) for layer in layers]
        document = self._json(
            schemaVersion=2, mediaType=_MANIFEST, config=self._blob(config, _CONFIG), layers=inside
        )
        notes = {"io.containerd.image.name": f"docker.io/library/{name}:1"}
        self._entries.append({**self._blob(document, _MANIFEST), "annotations": notes})

    def close(self) -> None:
        """The archive is whole then."""
        self._file("oci-layout", self._json(imageLayoutVersion="1.0.0"))
        self._file("index.json", self._json(schemaVersion=2, manifests=self._entries))
        self._tar.close()

    def _json(self, **fields: object) -> bytes:
        return json.dumps(fields).encode()

    def _blob(self, data: bytes, media_type: str) -> dict[str, object]:
        number = hashlib.sha256(data).hexdigest()
        if number not in self._written:
            self._written.add(number)
            self._file(f"blobs/sha256/{number}", data)
        return {"mediaType": media_type, "digest": f"sha256:{number}", "size": len(data)}

    def _file(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))


def layer(names: Sequence[str]) -> bytes:
    """A layer of small files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(f"srv/{name}")
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return out.getvalue()


def with_images(bench: Bench, count: int) -> Nacre:
    """A store with so many images of two layers, of which they share one."""
    folder = bench.fresh("growth")
    peer, archive = bench.nacre.at(folder / "nacre"), folder / "images.tar"
    layout, base = Layout(archive), busybox_tar()
    for number in range(count):
        layout.add(f"app{number}", [base, layer([f"{number}-{file}" for file in range(3)])])
    layout.close()
    peer.call("load", "-q", "-i", str(archive))
    return peer


def create(peer: Nacre, count: int, images: int) -> None:
    """So many containers, none of which runs, by turns of `app0`, `app1`, …"""
    program = Path(peer.words[0]).read_text(encoding="utf-8").partition("\n")[0].removeprefix("#!")
    words = [program, "-c", _CREATE, peer.words[2], str(count), str(images)]
    if subprocess.run(words, check=False).returncode:
        raise Skip("containers cannot be created through the Python API of this program")


def compared(cases: Iterator[Case]) -> Iterator[Case]:
    """Each with the smallest of its command."""
    first: dict[str, str] = {}
    for case in cases:
        command = case.name.rpartition(" ")[0]
        case.base = first.setdefault(command, case.name)
        yield case


class Growth(Scenario):
    """Listings, `system df`, `run` and prunes beside so many images and as many containers."""

    name = "growth"
    question = "commands beside so many images and as many stopped containers"
    warm, most = 1, 10

    def cases(self, bench: Bench) -> Iterator[Case]:
        stores = {size: with_images(bench, size) for size in bench.sizes}
        for size, peer in stores.items():
            create(peer, size, size)
        return compared(self._each(bench, stores))

    def _each(self, bench: Bench, stores: dict[int, Nacre]) -> Iterator[Case]:
        commands = ("images", "ps -a", "ps -aq", "system df", "image prune -f",
                    "run --rm --network none app0:1 true")  # fmt: skip
        for command in commands:
            for size, peer in stores.items():
                yield Case(f"{command} {size:,}", [*peer.words, *command.split()], peer.env)
        for size in stores:
            yield _pruned(with_images(bench, 1), size)


def _pruned(peer: Nacre, size: int) -> Case:
    """In a store of its own, in which there are so many before each round."""

    def again(_round: int) -> None:
        create(peer, size, 1)

    words = [*peer.words, "container", "prune", "-f"]
    return Case(f"container prune {size:,}", words, peer.env, before=again)


class Layers(Scenario):
    """`run` of images with more and more layers, and `load` of these."""

    name = "growth-layers"
    question = "commands for an image of so many layers"

    def cases(self, bench: Bench) -> Iterator[Case]:
        return compared(self._each(bench))

    def _each(self, bench: Bench) -> Iterator[Case]:
        folder, base = bench.fresh("growth"), busybox_tar()
        peer = bench.nacre.at(folder / "nacre")
        for count in _LAYERS:
            layout = Layout(folder / f"{count}.tar")
            layout.add(f"layers{count}", [base, *(layer([f"{count}-{one}"]) for one in range(1, count))])
            layout.close()
            peer.call("load", "-q", "-i", str(folder / f"{count}.tar"))
        for count in _LAYERS:
            words = ["run", "--rm", "--network", "none", f"layers{count}:1", "true"]
            yield Case(f"run {count}", [*peer.words, *words], peer.env)
        for count in _LAYERS:
            fresh = partial(_loaded, bench, folder / f"{count}.tar")
            yield Case(f"load {count}", (), peer.env, before=fresh)


def _loaded(bench: Bench, archive: Path, _round: int) -> Sequence[str]:
    peer = bench.nacre.at(bench.fresh("load") / "nacre")
    return [*peer.words, "load", "-q", "-i", str(archive)]


class Files(Scenario):
    """`import` and `run` of an image with a hundred times `--sizes` files, at most a million."""

    name = "growth-files"
    question = "commands for an image of so many files"
    most = 5

    def cases(self, bench: Bench) -> Iterator[Case]:
        return compared(self._each(bench))

    def _each(self, bench: Bench) -> Iterator[Case]:
        folder = bench.fresh("growth")
        counts = [min(100 * size, _MOST_FILES) for size in bench.sizes]
        peer = bench.nacre.at(folder / "nacre")
        for count in counts:
            _tree(folder / f"{count}.tar", count)
        for count in counts:
            fresh: Callable[[int], Sequence[str]] = partial(_imported, bench, folder / f"{count}.tar")
            yield Case(f"import {count:,}", (), peer.env, before=fresh)
        for count in counts:
            peer.call("import", str(folder / f"{count}.tar"), f"files{count}")
            words = ["run", "--rm", "--network", "none", f"files{count}", "/bin/true"]
            yield Case(f"run {count:,}", [*peer.words, *words], peer.env)


def _tree(path: Path, count: int) -> None:
    """The base and so many files of 100 bytes, a hundred in a folder."""
    path.write_bytes(busybox_tar())
    with tarfile.open(path, "a") as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"srv/{number // 100}/{number % 100}")
            info.size = 100
            tar.addfile(info, io.BytesIO(os.urandom(100)))


def _imported(bench: Bench, archive: Path, _round: int) -> Sequence[str]:
    peer = bench.nacre.at(bench.fresh("import") / "nacre")
    return [*peer.words, "import", str(archive), "files"]


SCENARIOS = (Growth(), Layers(), Files())
