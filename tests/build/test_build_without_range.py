"""A user without a range of ids: every file is his on disk, and what he pushes has the owners it had."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Owners = dict[str, tuple[int, int]]


@pytest.fixture
def registry(tmp_path: Path, nacre: Any) -> Iterator[str]:
    """A registry of its own, in a process outside of the namespace."""
    words = nacre.command(
        "registry", "serve", "--quiet", "--addr", "127.0.0.1:0", "--root", str(tmp_path / "registry")
    )
    with subprocess.Popen(words, env=nacre.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        yield line.partition("http://")[2].partition("/v2/")[0]
        process.terminate()
        process.wait(30)


_FILES = (("srv/data", ""), ("srv/also", "srv/data"), ("srv/kept", "srv/data"), ("srv/own", ""))


def _base(busybox_tar: bytes) -> bytes:
    """busybox, and files of two users, one of them with two names."""
    out = io.BytesIO(busybox_tar)
    with tarfile.open(fileobj=out, mode="a") as tar:
        for name, link in (
            ("srv/data", ""),
            ("srv/also", "srv/data"),
            ("srv/kept", "srv/data"),
            ("srv/own", ""),
        ):
            info = tarfile.TarInfo(name)
            info.uid, info.gid = (33, 34) if name != "srv/own" else (5, 6)
            info.type, info.linkname = (tarfile.LNKTYPE, link) if link else (tarfile.REGTYPE, "")
            tar.addfile(info)
    return out.getvalue()


def _layers(folder: Path) -> list[Owners]:
    """Owners by path in each layer of a layout."""
    import json

    def read(digest: str) -> bytes:
        return (folder / "blobs" / digest.replace(":", "/")).read_bytes()

    index = json.loads((folder / "index.json").read_bytes())
    manifest = json.loads(read(index["manifests"][0]["digest"]))
    found = []
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(read(layer["digest"]))) as tar:
            found.append({member.name: (member.uid, member.gid) for member in tar})
    return found


def _tar(**owners: int | None) -> bytes:
    """Empty files of these owners; None is a whiteout."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, owner in owners.items():
            info = tarfile.TarInfo(name if owner is not None else f".wh.{name}")
            info.uid = info.gid = owner or 0
            tar.addfile(info)
    return out.getvalue()


def test_the_owner_of_the_layer_that_shows_a_file_counts(
    single: Any, busybox_tar: bytes, tmp_path: Path
) -> None:
    """A layer over another gives files back to root, which needs no line beside it, or hides them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "threats"))
    from evil import Image

    lower = _tar(back=33, again=33, gone=33, still=33)
    image = Image(busybox_tar, lower, _tar(back=0, again=0, gone=None), _tar(again=5), _tar(late=7))
    (tmp_path / "image.tar").write_bytes(image.archive("base:1"))
    single("load", "-q", "-i", "image.tar")
    context = tmp_path / "context"
    context.mkdir()
    touched = "for f in back again gone still late; do echo >> /$f; done"
    (context / "Dockerfile").write_text(f'FROM base:1\nRUN ["/bin/sh", "-c", "{touched}"]\n')
    single("build", "-q", "-t", "app:1", str(context))
    single("create", "--name", "box", "app:1", "/bin/true")
    (tmp_path / "export.tar").write_bytes(single("export", "box").raw)
    single("run", "--name", "other", "base:1", "/bin/sh", "-c", touched)
    single("commit", "other", "committed:1")
    wanted = {"back": (0, 0), "again": (5, 5), "gone": (0, 0), "still": (33, 33), "late": (7, 7)}
    for name in ("app:1", "committed:1"):
        single("copy", "-q", f"nacre:{name}", f"oci:{tmp_path / name[:3]}:1")
        top = _layers(tmp_path / name[:3])[-1]
        assert {path: top[path] for path in wanted} == wanted, name
    with tarfile.open(tmp_path / "export.tar") as tar:
        assert {path: (tar.getmember(path).uid, tar.getmember(path).gid) for path in wanted} == wanted


GIVEN = """
chown 33:34 /srv/new && chown -R 5 /srv/tree && chown 5:6 /srv/tree/deep/leaf
chown 7:8 /srv/data && ln /srv/data /srv/another && chown 0:0 /srv/own && chown :9 /bin/busybox
touch /srv/plain
[ "$(su -s /bin/sh user -c 'id -u; id -g')" = "1000
1000" ] && chown 3 /tmp && [ "$(ls -ln /srv/new | cut -c 1-10)" = -rw------- ]
"""


def test_a_program_gives_files_away(single: Any, busybox_tar: bytes, tmp_path: Path) -> None:
    """What no user namespace of one id can do is answered, and in the layer as root's build has it."""
    single("import", "--change", "ENV PATH=/bin", "-", "base:1", input=_base(busybox_tar))
    context = tmp_path / "context"
    context.mkdir()
    (context / "give").write_text(GIVEN)
    before = "mkdir -p /srv/tree/deep && touch /srv/tree/deep/leaf /srv/new && chmod 600 /srv/new"
    names = "chown chmod su cut id mkdir touch ln ls"
    links = f"for name in {names}; do busybox ln -sf busybox /bin/$name; done"
    (context / "Dockerfile").write_text(
        f"FROM base:1\nRUN {links}; {before}\n"
        "COPY give /\nRUN sh -e /give\nRUN echo 2 >> /srv/new\nRUN chown 0:0 /srv/tree\n"
    )
    single("build", "-t", "app:1", str(context))
    single("copy", "-q", "nacre:app:1", f"oci:{tmp_path / 'layout'}:1")
    given, touched, back = _layers(tmp_path / "layout")[-3:]
    assert given == given | {
        "srv/new": (33, 34), "srv/tree": (5, 0), "srv/tree/deep": (5, 0), "srv/tree/deep/leaf": (5, 6),
        "srv/data": (7, 8), "srv/another": (7, 8), "srv/own": (0, 0), "bin/busybox": (0, 9),
        "srv/plain": (0, 0), "tmp": (3, 0),
    }  # fmt: skip
    assert touched["srv/new"] == (33, 34)
    assert back["srv/tree"] == (0, 0)
    assert "srv/tree/deep" not in back
    assert single("system", "check").code == 0


def test_pull_build_push_keeps_owners(
    registry: str, single: Any, busybox_tar: bytes, tmp_path: Path, peer: Callable[..., None]
) -> None:
    peer("skopeo")
    base, app = f"{registry}/base:1", f"{registry}/app:1"
    single("import", "-", base, input=_base(busybox_tar))
    single("push", base)
    single.root = tmp_path / "second"
    single("pull", base)
    context = tmp_path / "context"
    context.mkdir()
    Path(context, "given").write_bytes(b"3")
    Path(context, "Dockerfile").write_text(
        f"FROM {base}\nRUN echo 2 >> /srv/also && chmod 600 /srv/own\nCOPY --chown=7:8 given /srv/given\n"
    )
    single("build", "-q", "-t", app, str(context))
    single("push", app)
    words = [
        "skopeo",
        "copy",
        "-q",
        "--src-tls-verify=false",
        f"docker://{app}",
        f"oci:{tmp_path / 'layout'}",
    ]
    subprocess.run(words, check=True)
    first, second, third = _layers(tmp_path / "layout")
    assert first["srv/data"] == first["srv/also"] == (33, 34)
    assert second["srv/also"] == (33, 34)
    assert second["srv/own"] == (5, 6)
    assert third["srv/given"] == (7, 8)
