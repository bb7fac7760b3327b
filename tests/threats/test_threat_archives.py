"""Tars that lead outside, by every door through which a tar comes in."""

from __future__ import annotations

import ast
import gzip
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evil import Image, Layer, Outside, docker_archive, leftovers, sentence

import nacre as package

pytestmark = pytest.mark.usefixtures("busybox_image")

DOORS = ("load", "load-docker", "import", "pull", "add", "context")


class Doors:
    """`enter(door, tar)` hands a tar to the engine; the result."""

    def __init__(self, nacre: Any, fake: Any, folder: Path) -> None:
        self.nacre, self.fake, self.folder = nacre, fake, folder

    def enter(self, door: str, tar: bytes) -> Any:
        result = getattr(self, "_" + door.replace("-", "_"))(tar)
        if result.code:
            sentence(result)
            assert leftovers(self.nacre.root) == []
            assert "evil" not in self.nacre("images").out
        return result

    def _load(self, tar: bytes) -> Any:
        return self.nacre("load", input=Image(tar).archive("evil:1"), check=False)

    def _load_docker(self, tar: bytes) -> Any:
        image = Image(tar)
        config = image.blobs[image.manifest["config"]["digest"]]
        manifest = [{"Config": "c.json", "RepoTags": ["evil:1"], "Layers": ["l.tar"]}]
        archive = docker_archive(manifest, {"c.json": config, "l.tar": tar})
        return self.nacre("load", input=archive, check=False)

    def _import(self, tar: bytes) -> Any:
        return self.nacre("import", "-", "evil:1", input=tar, check=False)

    def _pull(self, tar: bytes) -> Any:
        return self.nacre("pull", Image(tar).publish(self.fake), check=False)

    def _add(self, tar: bytes) -> Any:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "rootfs.tar").write_bytes(tar)
        (self.folder / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
        return self.nacre("build", "-t", "evil:1", str(self.folder), check=False)

    def _context(self, tar: bytes) -> Any:
        """The hostile tar as the context, a Dockerfile appended by hand: newer `tarfile`s refuse some."""
        end = len(tar)
        while tar[end - 512 : end] == bytes(512) and end > len(tar) - tarfile.RECORDSIZE:
            end -= 512
        text = b"FROM scratch\nCOPY . /\n"
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        member = info.tobuf(tarfile.PAX_FORMAT) + text.ljust(512, b"\0")
        return self.nacre("build", "-t", "evil:1", "-", input=tar[:end] + member + bytes(1024), check=False)


@pytest.fixture
def doors(nacre: Any, fake: Any, tmp_path: Path) -> Doors:
    return Doors(nacre, fake, tmp_path / "doors")


def link_then_file(out: Outside) -> Layer:
    return Layer().link("escape", str(out)).file("escape/planted").file("escape/secret")


def climbing_link_then_file(out: Outside) -> Layer:
    return Layer().folder("d").link("d/escape", out.from_root()).file("d/escape/secret")


def links_to_nowhere(out: Outside) -> Layer:
    """What a link leads to is made, but never there: the root is where `..` and `/` end."""
    layer = Layer().link("escape", f"{out}/new").file("escape/planted").link("up", f"{out.from_root()}/new")
    layer.file("up/deep/planted").hard("up/hard", "up/deep/planted").file("up/.wh.secret", b"")
    layer.link("odd", f"no/../../{out.from_root()}").file("odd/secret")
    return layer.file("odd/.wh.folder", b"").file("odd/.wh..wh..opq", b"")


def chained_links(out: Outside) -> Layer:
    return Layer().link("a", ".").link("a/b", "..").link("c", f"a/b/{out.from_root()}").file("c/planted")


def hard_link_to_host(out: Outside) -> Layer:
    return Layer().hard("stolen", f"{out}/secret").file("stolen")


def hard_link_climbing(out: Outside) -> Layer:
    return Layer().hard("stolen", f"{out.from_root()}/secret")


def hard_link_through_link(out: Outside) -> Layer:
    return Layer().link("escape", str(out)).hard("stolen", "escape/secret").file("stolen")


def dots(out: Outside) -> Layer:
    return Layer().file(f"{out.from_root()}/planted")


def dots_in_the_middle(out: Outside) -> Layer:
    return Layer().folder("a").file(f"a/../{out.from_root()}/planted")


def absolute(out: Outside) -> Layer:
    return Layer().file(f"{out}/planted").file(f"{out}/secret")


def whiteout(out: Outside) -> Layer:
    return Layer().link("escape", str(out)).file("escape/.wh.secret", b"").file("escape/.wh..wh..opq", b"")


def chmod_through_link(out: Outside) -> Layer:
    """containerd CVE-2021-32760."""
    layer = Layer().link("escape", f"{out}/secret").link("folder", str(out))
    return layer.hard("escape2", "escape").file("escape", mode=0o4777).folder("folder", mode=0o777)


ATTACKS: list[Callable[[Outside], Layer]] = [
    link_then_file, climbing_link_then_file, links_to_nowhere, chained_links, hard_link_to_host,
    hard_link_climbing, hard_link_through_link, dots, dots_in_the_middle, absolute, whiteout,
    chmod_through_link,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_cve_2014_6407_and_2014_9356_nothing_outside_is_written(
    doors: Doors, outside: Outside, door: str
) -> None:
    """Every attack by one door: links, hard links, `..`, absolute names, whiteouts, changes of mode."""
    for attack in ATTACKS:
        result = doors.enter(door, attack(outside).bytes())
        assert outside.SECRET not in result.out + result.err
        outside.check()
        if result.code == 0:
            saved = doors.nacre("save", "evil:1" if door != "pull" else f"{doors.fake.host}/evil:1").raw
            assert outside.SECRET.encode() not in saved, attack.__name__
            doors.nacre("rmi", "-f", "evil:1" if door != "pull" else f"{doors.fake.host}/evil:1")


@pytest.mark.parametrize("door", DOORS)
def test_cve_2021_32760_no_mode_is_changed_through_a_link(doors: Doors, outside: Outside, door: str) -> None:
    doors.enter(door, chmod_through_link(outside).bytes())


@pytest.mark.parametrize("name", [".", "./", "/", "/."])
@pytest.mark.parametrize("door", ["load", "import", "pull"])
def test_cve_2021_29136_the_root_stays_a_folder(doors: Doors, outside: Outside, door: str, name: str) -> None:
    """umoci: an entry `.` that is a symbolic link would make all others land behind it."""
    result = doors.enter(door, Layer().link(name, str(outside)).file("planted").bytes())
    assert result.code == 1, result


def long_names(out: Outside) -> Layer:
    """CVE-2025-4517: a path that `realpath` no longer resolves because it has become too long."""
    layer, path, steps = Layer(), "", "abcdefghijklmnop"
    folder = "d" * 247
    for step in steps:
        layer.folder(os.path.join(path, folder))
        layer.link(os.path.join(path, step), folder)
        path = os.path.join(path, folder)
    inner = "/".join(steps) + "/" + "l" * 254
    layer.link(inner, "../" * len(steps))
    layer.link("escape", f"{inner}/{out.from_root()}")
    return layer.hard("flag", "escape/secret").file("flag").file("escape/planted")


def renamed_by_filter(out: Outside) -> Layer:
    """CVE-2024-12718, CVE-2025-4330: names that mean something else before and after normalising."""
    layer = Layer().link("a/../b/..", str(out)).link("x/.", str(out)).link("x/", str(out))
    return layer.file("x/planted").folder("x", mode=0o777)


def dangling_then_hard(out: Outside) -> Layer:
    """CVE-2025-4138: a link whose target is checked against another folder than that of the link."""
    layer = Layer().folder("a").folder("a/b").link("a/b/s", f"../../{out.from_root()}")
    return layer.hard("s", "a/b/s").file("s/planted").file("a/b/s/secret")


@pytest.mark.parametrize("attack", [long_names, renamed_by_filter, dangling_then_hard])
@pytest.mark.parametrize("door", DOORS)
def test_cve_2007_4559_and_2025_4517_no_filter_is_fooled(
    doors: Doors, outside: Outside, door: str, attack: Callable[[Outside], Layer]
) -> None:
    doors.enter(door, attack(outside).bytes())


@pytest.mark.parametrize("door", ["load", "import", "context"])
def test_cve_2025_8194_negative_sizes_end(doors: Doors, door: str) -> None:
    """A negative offset made `tarfile` loop for ever; the time limit of `nacre` would fail the test."""
    block = bytearray(tarfile.TarInfo("name").tobuf(tarfile.GNU_FORMAT)[:512])
    block[124:136] = b"\xff" * 11 + b"\x00"
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    assert doors.enter(door, bytes(block) + bytes(1024)).code == 1


def test_cve_2007_4559_tarfile_is_never_imported() -> None:
    for path in Path(package.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "tarfile" not in names, path


def test_cve_2014_9357_no_program_decompresses(nacre: Any, tmp_path: Path) -> None:
    """Programs of these names lie first in PATH and would leave a trace."""
    traps = tmp_path / "traps"
    traps.mkdir()
    for name in ("gzip", "gunzip", "unpigz", "pigz", "xz", "unxz", "zstd", "unzstd", "bzip2", "tar", "zcat"):
        (traps / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\nexit 1\n")
        (traps / name).chmod(0o755)
    tar = Layer().file("f").bytes()
    for pack in (gzip.compress, lzma.compress):
        nacre("import", "-", "packed:1", input=pack(tar), PATH=f"{traps}:{os.environ['PATH']}")
        broken = pack(os.urandom(100_000) + tar)[:-5000]
        sentence(nacre("import", "-", "x", input=broken, check=False, PATH=f"{traps}:{os.environ['PATH']}"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "bad", ["../../../outside/secret", "/etc/hostname", "blobs/../../outside/secret", ""]
)
def test_cve_2014_9358_names_in_a_docker_archive_are_no_paths(nacre: Any, outside: Outside, bad: str) -> None:
    tar = Layer().file("f").bytes()
    image = Image(tar)
    config = image.blobs[image.manifest["config"]["digest"]]
    for entry in (
        {"Config": bad, "Layers": ["l.tar"], "RepoTags": ["evil:1"]},
        {"Config": "c.json", "Layers": [bad], "RepoTags": ["evil:1"]},
    ):
        archive = docker_archive([entry], {"c.json": config, "l.tar": tar})
        said = sentence(nacre("load", input=archive, check=False))
        assert outside.SECRET not in said
    assert "evil" not in nacre("images").out


def test_cve_2014_9358_ids_of_the_oldest_form_are_no_paths(nacre: Any, outside: Outside) -> None:
    for bad in ("../outside", "..", "a/../../outside", str(outside)):
        layers = Layer().file("repositories", json.dumps({"evil": {"1": bad}}).encode())
        sentence(nacre("load", input=layers.bytes(), check=False))


@pytest.mark.parametrize(
    "bad",
    [
        "sha256:../../../outside/secret",
        "sha256:" + "../" * 21 + "x",
        "../x:" + "0" * 64,
        "sha256:" + "0" * 63,
    ],
)
def test_cve_2024_3727_digests_are_no_paths(nacre: Any, fake: Any, outside: Outside, bad: str) -> None:
    """containers/image: an unvalidated digest became part of a path and of a request."""
    for place in ("config", "layer"):
        image = Image(Layer().file("f").bytes())
        target = image.manifest["config"] if place == "config" else image.manifest["layers"][0]
        target["digest"] = bad
        sentence(nacre("load", input=image.archive(), check=False))
        sentence(nacre("pull", image.publish(fake), check=False))
    assert leftovers(nacre.root) == []
    assert not [path for method, path, _ in fake.requests if ".." in path]


def test_a_folder_of_an_image_may_not_lead_outside(nacre: Any, outside: Outside, tmp_path: Path) -> None:
    """`load -i FOLDER`: blobs that are links to files of the host."""
    folder = tmp_path / "layout"
    Image(Layer().file("f").bytes()).unpack(folder)
    for blob in sorted((folder / "blobs/sha256").iterdir()):
        data = blob.read_bytes()
        blob.unlink()
        blob.symlink_to(outside.folder / "secret")
        said = nacre("load", "-i", str(folder), check=False)
        assert outside.SECRET not in said.out + sentence(said)
        blob.unlink()
        blob.write_bytes(data)
    nacre("load", "-i", str(folder))
