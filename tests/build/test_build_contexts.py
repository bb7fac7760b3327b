"""Contexts: archives, repositories, URLs, and those that have a name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from gitkit import TIME, Repository, needs_git
from machine import remove

from nacre.engine import Config, Engine
from nacre.grammars.dockerfile.instructions import Dockerfile
from nacre.grammars.dockerfile.namedcontext import find_context, image_of, is_url, read_context, repository_of
from nacre.grammars.dockerfile.parse import parse
from nacre.images.dockerfile.plan import Plan, plan
from nacre.services.build.filehash import content_digest
from nacre.services.build.select import select
from nacre.services.build.tarcontext import TarContext, is_archive, tar_context
from nacre.stores.store import Store
from nacre.words.errors import Conflict, ContentError, DockerfileError, NotFound, Unsupported, UsageError

DOCKERFILE = "FROM scratch\nCOPY . /all/\n"


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, linkname=target, type=tarfile.SYMTYPE)


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


# --- values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a=b", ("a", "b")),
        ("alpine:latest=x=y", ("alpine", "x=y")),
        ("docker.io/library/alpine:3=", ("alpine:3", "")),
        ("registry.example/a/b=git@h:x", ("registry.example/a/b", "git@h:x")),
    ],
)
def test_a_context_is_read(written: str, expected: tuple[str, str]) -> None:
    assert read_context(written) == expected


@pytest.mark.parametrize(
    ("written", "error", "message"),
    [
        ("foo", UsageError, "invalid context value: foo, expected key=value"),
        ("=x", UsageError, "invalid context name : invalid reference format"),
        ("FOO=x", UsageError, "invalid context name FOO: .*lower case"),
        ("a b=x", UsageError, "invalid context name a b: "),
        ("a=target:x", Unsupported, "only a bake file has targets"),
    ],
)
def test_malformed_contexts(written: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_context(written)


def test_what_a_value_is() -> None:
    assert image_of("docker-image://alpine") == "alpine"
    assert image_of("docker-image://") == ""
    assert image_of("oci-layout://a:b") == "oci-layout://a:b"
    assert [image_of(text) for text in ("a", "https://h/x", "git@h:x")] == [None] * 3
    assert is_url("https://h/x.tar")
    assert not is_url("https://h/x.git#a")
    assert not is_url("a")
    assert repository_of("github.com/a/b") == "https://github.com/a/b"
    assert repository_of("https://h/x.git#a:b") == "https://h/x.git#a:b"
    assert repository_of("https://h/x") == repository_of("dir") == ""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("alpine", "alpine"), ("alpine:latest", "alpine"), ("docker.io/library/alpine", "alpine"),
        ("alpine:3", ""), ("no//name", ""), ("Alpine", ""),
    ],
)  # fmt: skip
def test_every_spelling_of_a_name_is_found(name: str, found: str) -> None:
    assert find_context(name, {"alpine": "x"}) == found


FILE = """\
ARG BASE=alpine
FROM scratch AS first
COPY a /
FROM $BASE AS second
COPY --from=first / /
COPY --from=0 / /
RUN --mount=from=first true
FROM first
COPY --from=busybox / /
"""


def planned(**contexts: str) -> Plan:
    file: Dockerfile = parse(FILE)
    return plan(file, {}, target="second", contexts=contexts)


def test_without_a_context() -> None:
    stages = planned().stages
    assert [(one.base.name, one.base.stage, one.base.context) for one in stages] == [
        ("scratch", None, ""), ("alpine", None, ""), ("first", 0, ""),
    ]  # fmt: skip
    assert planned().needed == (0, 1)


def test_files_take_the_place_of_an_image() -> None:
    found = planned(alpine="/folder", scratch="/folder", busybox="/other")
    assert [one.base.context for one in found.stages] == ["", "alpine", ""]
    item = found.stages[2].stage.instructions[0]
    assert found.source(item, "docker.io/library/busybox:latest", 2).context == "busybox"
    assert found.source(item, "scratch", 2).is_scratch


def test_an_image_takes_the_place_of_an_image() -> None:
    assert planned(alpine="docker-image://debian:12").stages[1].base.name == "debian:12"
    assert planned(alpine="docker-image://scratch").stages[1].base.is_scratch


def test_files_take_the_place_of_a_stage() -> None:
    """It is not made for its files, and nothing that it does is done."""
    found = planned(first="/folder")
    assert found.stages[0].stage.instructions == ()
    assert found.needed == (1,)
    item = found.stages[1].stage.instructions[0]
    assert found.source(item, "first", 1).context == found.source(item, "0", 1).context == "first"
    assert found.stages[2].base.stage == 0


# --- archives


def pressed(data: bytes) -> dict[str, bytes]:
    return {
        "plain": data, "gzip": gzip.compress(data), "zstd": zstandard.compress(data),
        "xz": lzma.compress(data), "bzip2": bz2.compress(data),
    }  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


def test_what_is_an_archive() -> None:
    data = tar(member("a", b"x" * 5000))
    assert all(is_archive(one[:1024]) for one in pressed(data).values())
    old = bytearray(data[:1024])
    old[257:265] = bytes(8)  # as before POSIX: no magic, and the checksum alone tells
    checksum = sum(old[:148]) + 8 * 32 + sum(old[156:512])
    old[148:156] = b"%06o\0 " % checksum
    assert is_archive(bytes(old))
    for text in (b"", b"FROM scratch\n", bytes(1024), b"PK\x03\x04", os.urandom(3)):
        assert not is_archive(text)


@pytest.mark.parametrize("codec", ["plain", "gzip", "zstd", "xz", "bzip2"])
def test_an_archive_is_read_where_it_lies(store: Store, tmp_path: Path, codec: str) -> None:
    members = (
        member("d/", type=tarfile.DIRTYPE, mode=0o700, uid=7),
        member("d/f", b"one", mtime=5, uid=3, gid=4, mode=0o640), link("d/l", "f"),
        member("h", linkname="d/f", type=tarfile.LNKTYPE), member("./deep/er/x", b"x"),
    )  # fmt: skip
    (tmp_path / "t").write_bytes(pressed(tar(*members))[codec])
    with open(tmp_path / "t", "rb") as stream, tar_context(store, stream.read(1024), stream) as files:
        (everything,) = select(files, "/")
        assert [path for path, _ in everything.files] == [
            b"", b"d", b"d/f", b"d/l", b"deep", b"deep/er", b"deep/er/x", b"h",
        ]  # fmt: skip
        file = files.lookup(b"d/f")
        assert file
        assert (file.uid, file.gid, file.mode, file.mtime_ns) == (3, 4, 0o640, 5 * 10**9)
        other = files.lookup(b"h")
        assert other
        assert other.identity == file.identity
        assert files.open(file).read(99) == files.open(other).read(99) == b"one"
        assert files.digest(file).hex().startswith("7692c3ad")
        assert select(files, "d/l")[0].files[0][1].path == b"d/f"
        assert files.lookup(b"nope") is None
        assert not files.is_ignored(b"d")
    assert not list(Path(store.root).glob("containers/*"))


def test_a_plain_archive_must_not_change(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(tar(member("f", b"one" * 9999)))
    with open(tmp_path / "t", "rb") as stream, tar_context(store, stream.read(1024), stream) as files:
        item = files.lookup(b"f")
        assert item
        reader = files.open(item)
        with open(tmp_path / "t", "ab") as other:
            other.write(b"more")
        with pytest.raises(Conflict, match="the build context changed"):
            content_digest(reader)
        with pytest.raises(Conflict):
            files.open(item)


def context_of(store: Store, *members: tuple[tarfile.TarInfo, bytes]) -> TarContext:
    data = tar(*members)
    return tar_context(store, data[:1024], io.BytesIO(data[1024:]))


def test_nothing_of_an_archive_leads_out(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    up = "../" * 20 + str(tmp_path)[1:]
    with context_of(
        store, link("out", str(tmp_path)), member("out/secret", b"mine"), link("up", f"{up}/secret"),
        link("conf", "/etc"),
    ) as files:  # fmt: skip
        assert (tmp_path / "secret").read_text() == "secret"
        inside = files.lookup(str(tmp_path / "secret").encode()[1:])
        assert inside
        assert files.open(inside).read(9) == b"mine"
        assert select(files, "conf/hostname") == []
        assert select(files, "up")[0].files[0][1].path == inside.path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ((member("../x", b"x"),), "x"),
        ((member("a/../../x", b"x"),), "x"),
        ((member("h", linkname="/etc/passwd", type=tarfile.LNKTYPE),), "hard link"),
        ((member("f", b"x"), member("f/g", b"x")), "is not a directory"),
        ((link("l", "l"), member("l/g", b"x")), "too many levels"),
    ],
)
def test_hostile_archives(store: Store, members: Any, message: str) -> None:
    with pytest.raises((UsageError, ContentError), match=message), context_of(store, *members):
        pass
    assert not list(Path(store.root).glob("containers/*"))


def test_names_of_whiteouts_in_an_archive(nacre: Any) -> None:
    """They are files like others, which only a layer cannot hold: what is not copied is no fault."""
    text = b"FROM scratch\nCOPY f /\n"
    names = (member(".wh.x", b"x"), member("d/.wh..wh..opq", b""), member("f", b"f"))
    nacre("build", "-t", "app", "-", input=tar(member("Dockerfile", text), *names))
    text = b"FROM scratch\nCOPY d /\n"
    failed = nacre("build", "-", input=tar(member("Dockerfile", text), *names), check=False)
    assert "names there must not begin with .wh." in failed.err


@pytest.mark.parametrize("cut", [600, 3000, 5000])
def test_a_damaged_archive(store: Store, cut: int) -> None:
    data = tar(member("f", b"x" * 3000), member("g", b"y" * 3000))[:cut]
    with pytest.raises(ContentError, match="the build context: "):
        tar_context(store, data[:1024], io.BytesIO(data[1024:]))


# --- the API on a folder, an archive, a repository, a URL


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with Engine(Config(str(tmp_path / "store"))) as opened:
        yield opened
    remove(tmp_path / "store")


@pytest.fixture
def names(engine: Engine) -> Callable[..., list[str]]:
    """What an image that is built holds."""

    def build(context: Any, **words: Any) -> list[str]:
        built = engine.build(context, **words)
        out = io.BytesIO()
        engine.export_tar(str(built.image.digest), out)
        out.seek(0)
        with tarfile.open(fileobj=out) as files:
            return sorted(f"{one.name} {one.uid} {one.mtime}" for one in files if one.isfile())

    return build


def test_archives_as_context(names: Any, tmp_path: Path) -> None:
    data = tar(
        member("Dockerfile", DOCKERFILE.encode(), mtime=1), member(".dockerignore", b"*"),
        member("other", b"FROM scratch\nCOPY --chown=9 f /f\n"), member("f", b"f", uid=5, mtime=7),
    )  # fmt: skip
    expected = ["all/.dockerignore 0 0", "all/Dockerfile 0 1", "all/f 5 7", "all/other 0 0"]
    for name, content in pressed(data).items():
        assert names(io.BytesIO(content)) == expected, name
        (tmp_path / name).write_bytes(content)
        assert names(tmp_path / name) == expected, name
    with open(tmp_path / "plain", "rb") as stream:
        assert names(stream, dockerfile="other") == ["f 9 7"]
    text = io.BytesIO(b"FROM scratch\nCOPY f /\n")
    assert names(tmp_path / "gzip", dockerfile=text) == ["f 5 7"]
    with pytest.raises(NotFound, match="failed to read dockerfile: open nope: no such file"):
        names(tmp_path / "plain", dockerfile="nope")
    (tmp_path / "text").write_text("FROM scratch\n")
    with pytest.raises(NotFound, match="neither a directory nor a tar"):
        names(tmp_path / "text")
    with pytest.raises(UsageError, match="ambiguous Dockerfile source: both stdin and flag"):
        names(io.BytesIO(b"FROM scratch\n"), dockerfile="x")


def test_urls_as_context(names: Any, served: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "c.tar.gz").write_bytes(gzip.compress(tar(member("Dockerfile", DOCKERFILE.encode(), uid=3))))
    (site / "Dockerfile").write_text(DOCKERFILE)
    os.utime(site / "Dockerfile", (9, 9))
    assert names(f"{served}/c.tar.gz") == ["all/Dockerfile 3 0"]
    assert names(f"{served}/Dockerfile") == ["all/context 0 9"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x").touch()
    os.utime(folder / "x", (8, 8))
    assert names(folder, dockerfile=f"{served}/Dockerfile") == ["all/x 0 8"]
    (tmp_path / "D").write_text("FROM scratch\nCOPY context /here\n")
    assert names(f"{served}/Dockerfile", dockerfile=tmp_path / "D") == ["here 0 9"]
    with pytest.raises(UsageError, match="the URL is one, and so is -f x"):
        names(f"{served}/Dockerfile", dockerfile="x")
    with pytest.raises(NotFound, match=r"/none: HTTP status 404"):
        names(f"{served}/none")
    (site / "huge").write_bytes(b"#" * (5 << 20))
    with pytest.raises(UsageError, match=r"huge has more than"):
        names(f"{served}/huge")


@needs_git
def test_repositories_as_context(names: Any, served: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "site/a")
    (repository.folder / "link").symlink_to("/etc")
    repository.commit(
        "v1", Dockerfile=DOCKERFILE, **{"sub/Dockerfile": "FROM scratch\nCOPY . /s/\n", "sub/x": ""}
    )
    repository.commit("v2", new="new", **{".dockerignore": "*"})
    url = f"{served}/a/.git"
    assert names(f"{url}#v1:sub") == names(f"{url}?ref=v1&subdir=sub") == [
        f"s/Dockerfile 0 {TIME}", f"s/x 0 {TIME}",
    ]  # fmt: skip
    assert f"all/new 0 {TIME}" in names(url)
    assert names(f"{url}#v2", dockerfile="sub/Dockerfile") == [
        f"s/{name} 0 {TIME}" for name in (".dockerignore", "Dockerfile", "new", "sub/Dockerfile", "sub/x")
    ]
    kept = names(url, arguments={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"})
    assert f"all/.git/HEAD 0 {TIME}" in kept
    assert kept == names(f"{url}?keep-git-dir")
    with pytest.raises(UsageError, match="'link' is no directory of"):
        names(f"{url}#v1:link")
    with pytest.raises(NotFound, match="has no branch, tag or commit 'nope'"):
        names(f"{url}#nope")


def test_named_contexts(names: Any, served: str, tmp_path: Path) -> None:
    from nacre.services.build import BuildOptions

    main, other = tmp_path / "main", tmp_path / "other"
    for folder in (main, other):
        folder.mkdir()
        (folder / "x").write_text(folder.name)
        (folder / "skip").touch()
        os.utime(folder / "x", (5, 5))
    (other / ".dockerignore").write_text("skip\n.dockerignore\n")
    (tmp_path / "site/c.tar").write_bytes(tar(member("x", b"tar", uid=3)))
    (tmp_path / "site/one").write_text("one")
    os.utime(tmp_path / "site/one", (6, 6))

    def build(text: str, **contexts: str) -> list[str]:
        (main / "Dockerfile").write_text(text)
        options = BuildOptions(contexts=tuple(contexts.items()))
        found: list[str] = names(main, options=options)
        return found

    copy = "FROM scratch AS a\nCOPY --from=n . /d/\n"
    assert build(copy, n=str(other)) == ["d/x 0 5"]
    assert build("FROM n\nCOPY x /y\n", n=str(other)) == ["x 0 5", "y 0 5"]
    stages = "FROM nowhere/image AS n\nRUN nothing\nFROM scratch\nCOPY --from=n . /\n"
    assert build(stages, n=str(other)) == ["x 0 5"]
    assert build(f"{stages}FROM n\nCOPY skip /s/\n", n=str(other))[1] == "x 0 5"
    assert build(copy, n=f"{served}/c.tar") == ["d/x 3 0"]
    assert build(copy, n=f"{served}/one") == ["d/one 0 6"]
    assert build(copy, n="docker-image://scratch") == []
    with pytest.raises(NotFound, match="failed to get build context n: stat nowhere: no such file"):
        build(copy, n="nowhere")
    with pytest.raises(UsageError, match=r"failed to get build context n: .* is not a directory"):
        build(copy, n=str(main / "x"))
    with pytest.raises(DockerfileError, match="'skip' not found in the build context n"):
        build("FROM scratch\nCOPY --from=n skip /\n", n=str(other))
    with pytest.raises(DockerfileError, match=r"cannot download .*: HTTP status 404"):
        build(copy, n=f"{served}/none")


def test_named_images(project: Any, tmp_path: Path) -> None:
    """From the store and from layouts; their configuration counts, and files are mounted."""
    (tmp_path / "named").mkdir()
    (tmp_path / "named/x").write_text("x")
    project.build("FROM busybox:test\nENV A=1\nRUN echo image > /made\n", tag="made:1")
    project.nacre("copy", "nacre:made:1", f"oci:{tmp_path}/layout:v1")
    text = (
        "FROM alpine AS base\nRUN false\nFROM base\n"
        "RUN --mount=from=n,target=/n cat /n/x /made > /out && echo $A >> /out\n"
    )
    named = ("--build-context", f"n={tmp_path}/named")
    for value in (
        "docker-image://made:1",
        f"oci-layout://{tmp_path}/layout:v1",
        f"oci-layout://{tmp_path}/layout",
    ):
        project.build(text, "--build-context", f"base={value}", *named)
        assert project.sh("cat /out") == "ximage\n1\n"
    digest = project.nacre("inspect", "--format", "{{.Id}}", "app").out.strip()
    said = project.fails(text, "--build-context", f"base=oci-layout://{tmp_path}/layout:v2", *named).err
    assert f"oci-layout reference 'oci-layout://{tmp_path}/layout:v2' could not be resolved: " in said
    said = project.fails(text, "--build-context", f"base=oci-layout://{tmp_path}/layout@{digest}", *named).err
    assert f"{digest} is not in the oci layout" in said
    (tmp_path / "named/x").write_text("y")
    project.build(text, "--build-context", "base=docker-image://made:1", *named)
    assert project.sh("cat /out") == "yimage\n1\n"
    assert (
        "nothing changed" in project.build(text, "--build-context", "base=docker-image://made:1", *named).err
    )
    assert project.leftovers() == []
