"""`build --squash`: the layers above the base become one that does the same."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from nacre.images.layers.squash import squash
from nacre.stores.store import Store

Members = tuple[tuple[str, str, str], ...]


def tar(members: Members) -> io.BytesIO:
    """A layer of (kind, name, content or target)."""
    kinds = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind, name, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kinds[kind], 0o755 if kind == "d" else 0o644
            info.size = len(text) if kind == "f" else 0
            info.linkname = text if kind in "lh" else ""
            archive.addfile(info, io.BytesIO(text.encode()) if kind == "f" else None)
    buffer.seek(0)
    return buffer


def content(found: Any) -> bytes:
    if found.kind != "file":
        return b""
    with found.open() as file:
        return bytes(file.read())


def seen(store: Store, layers: list[Any]) -> dict[bytes, tuple[Any, ...]]:
    """What a stack of layers shows."""
    with store.trees.open(layers) as view:
        return {
            found.path: (
                found.kind,
                found.mode,
                found.link,
                found.open().read() if found.kind == "file" else b"",
            )
            for found in view.walk()
            if found.path
        }


BASE: Members = (
    ("d", "a", ""), ("f", "a/one", "1"), ("f", "a/two", "2"), ("d", "b", ""),
    ("f", "b/x", "x"), ("f", "c", "c"), ("d", "run", ""), ("f", "run/pid", "p"),
    ("d", "v", ""), ("d", "v/r", ""), ("f", "v/r/y", "y"),
)  # fmt: skip


ABOVE: dict[str, tuple[Members, ...]] = {
    "a file twice": ((("f", "n", "n"),), (("f", "n", "m"),)),
    "a file that is gone": ((("f", "a/.wh.one", ""),), (("f", "a/three", "3"),)),
    "a folder made again": ((("f", ".wh.a", ""),), (("d", "a", ""), ("f", "a/new", "n"))),
    "an opaque folder": ((("f", "a/.wh..wh..opq", ""), ("d", "a", "")), (("f", "a/two", "2b"),)),
    "a folder becomes a file": ((("f", ".wh.b", ""), ("f", "b", "file")), (("f", "z", "z"),)),
    "a file becomes a folder": ((("f", ".wh.c", ""), ("d", "c", ""), ("f", "c/d", "d")),),
    "a file that came and went": ((("f", "n", "n"),), (("f", ".wh.n", ""),)),
    "a folder becomes a link": ((("f", "n/m", "n"),), (("f", ".wh.n", ""), ("l", "n", "a"))),
    "a link to a folder beneath": ((("f", "v/r/z", "z"),), (("f", "v/.wh.r", ""), ("l", "v/r", "/run"))),
    "hard links": ((("f", "h", "h"), ("h", "i", "h")), (("f", "h", "other"), ("h", "j", "h"))),
    "four layers": (
        (("f", ".wh.a", ""),), (("f", ".wh.b", ""),), (("d", "a", ""),), (("f", "a/one", "x"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("above", ABOVE.values(), ids=ABOVE)
def test_one_layer_does_what_several_do(store: Store, above: tuple[Members, ...]) -> None:
    base = store.trees.ingest(tar(BASE), None)
    layers = [store.trees.ingest(tar(members), None) for members in above]
    for beneath in ([base], []):
        made = squash(store, beneath, layers)
        assert seen(store, [*beneath, *([made[1]] if made else [])]) == seen(store, [*beneath, *layers])


def test_the_image(project: Any, tmp_path: Path) -> None:
    """The same files; docker's history; the base as it was; the same again."""
    project.write("f", "text")
    text = (
        "FROM busybox:test\nCOPY f /d/f\nRUN rm -r /d && mkdir /d && echo > /d/new && rm /etc/passwd\nCMD x\n"
    )
    project.build(text, tag="plain")
    done = project.build("", "--squash", tag="small")
    assert "squashing 2 layers" in done.err
    plain, small = (project.nacre("inspect", name).json[0] for name in ("plain", "small"))
    base = project.nacre("inspect", "busybox:test").json[0]
    assert small["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert small["Config"] == plain["Config"]
    assert trees(project, tmp_path, "small") == trees(project, tmp_path, "plain")
    history = json.loads(project.nacre("history", "--no-trunc", "--format", "{{json .}}", "small").lines[0])
    assert history["Comment"] == f"merge {plain['Id']} to {base['Id']}"
    project.build("", "--squash", tag="again")
    assert project.id("again") == project.id("small")
    project.build("FROM scratch\nCOPY f /a\nCOPY f /b\n", "--squash", tag="one")
    assert len(project.nacre("inspect", "one").json[0]["RootFS"]["Layers"]) == 1


def trees(project: Any, folder: Path, name: str) -> list[tuple[Any, ...]]:
    path = folder / f"{name}.tar"
    container = project.nacre("create", name, "x").out.strip()
    project.nacre("export", "-o", str(path), container)
    project.nacre("rm", container)
    with tarfile.open(path) as archive:
        return sorted((item.name, item.mode, item.size, item.type, item.linkname) for item in archive)
