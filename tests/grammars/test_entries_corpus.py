"""The archives of other projects: each read as its own project reads it, or refused with a sentence."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from rawtar import content

from nacre.grammars.codecs.stream import decompress
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.words.errors import InvalidArchive

Corpus = Callable[..., Path]

REFUSED_BY_GO = [
    "gnu-sparse-many-zeros.tar.bz2", "issue10968.tar", "issue11169.tar", "issue12435.tar", "neg-size.tar",
    "pax-bad-hdr-file.tar", "pax-bad-hdr-large.tar.bz2", "pax-bad-mtime-file.tar", "pax-nul-path.tar",
    "pax-nul-xattrs.tar",
]  # fmt: skip
BINARY = "pax/bad-pax", "pax/hdrcharset"
CUT_SHORT = ["writer-big.tar", "writer-big-long.tar", "pax-path-hdr.tar"]
READ_OTHERWISE_BY_PYTHON = [
    "gnu-incremental.tar",  # a prefix in a GNU header, which has none
    "pax-global-records.tar",  # global records count
    "gnu-multi-hdrs.tar", "pax-multi-hdrs.tar",  # the last of several headers counts
    "pax-nil-sparse-data.tar", "pax-nil-sparse-hole.tar", "pax-sparse-big.tar",  # sizes without holes
]  # fmt: skip
KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink", b"3": "char",
    b"4": "block", b"5": "dir", b"6": "fifo", b"D": "dir",
}  # fmt: skip


def read(path: Path) -> list[tuple[Entry, bytes]]:
    """All entries, contents with their holes filled where they are small enough."""
    with path.open("rb") as stream:
        return [(entry, filled(entry, content(payload))) for entry, payload in read_tar(decompress(stream))]


def filled(entry: Entry, data: bytes) -> bytes:
    if entry.sparse is None or entry.size > 1 << 24:
        return data
    out, at = bytearray(entry.size), 0
    for offset, length in entry.sparse:
        out[offset : offset + length] = data[at : at + length]
        at += length
    return bytes(out)


@pytest.mark.parametrize("folder", ["tar-go", "tar-cpython", "tar-libarchive"])
def test_every_archive_is_read_or_refused_with_a_sentence(corpus: Corpus, folder: str) -> None:
    read_well = 0
    for path in sorted(corpus(folder).glob("*.tar*")):
        with suppress(InvalidArchive):
            read(path)
            read_well += 1
    assert read_well >= {"tar-go": 31, "tar-cpython": 1, "tar-libarchive": 36}[folder]


@pytest.mark.parametrize("name", REFUSED_BY_GO + CUT_SHORT)
def test_what_go_refuses_is_refused(corpus: Corpus, name: str) -> None:
    with pytest.raises(InvalidArchive):
        read(corpus("tar-go") / name)


def test_what_go_reads_is_read_like_go(corpus: Corpus) -> None:
    folder = corpus("tar-go")
    multi, _data = read(folder / "pax-multi-hdrs.tar")[0]
    assert (multi.path, multi.link) == (b"bar", b"PAX4/PAX4/long-linkpath-name")
    names = [entry.path for entry, _data in read(folder / "pax-global-records.tar")]
    assert names == [b"file1", b"file2", b"file3", b"file4"]
    assert read(folder / "pax-pos-size-file.tar")[0][0].size == 999
    for form in ("gnu", "pax"):
        [(entry, data)] = read(folder / f"{form}-nil-sparse-hole.tar")
        assert (entry.size, entry.sparse, data) == (1000, (), bytes(1000))


def test_the_four_sparse_forms_say_the_same(corpus: Corpus) -> None:
    found = read(corpus("tar-go") / "sparse-formats.tar")
    forms = {(entry.size, entry.sparse, data) for entry, data in found[:4]}
    assert len(forms) == 1
    assert found[4][1] == b"end\n"


@pytest.mark.parametrize("folder", ["tar-go", "tar-libarchive"])
def test_whatever_python_reads_too_is_equal(corpus: Corpus, folder: str) -> None:
    compared = 0
    for path in sorted(corpus(folder).glob("*.tar")):
        if path.name in READ_OTHERWISE_BY_PYTHON:
            continue
        with suppress(InvalidArchive, tarfile.ReadError):
            compare(path, read(path))
            compared += 1
    assert compared >= 20


def test_pythons_own_archive_is_equal(corpus: Corpus, tmp_path: Path) -> None:
    """But for two entries whose owner is -1, which no file can have."""
    data = (corpus("tar-cpython") / "testtar.tar").read_bytes()
    mended = tmp_path / "testtar.tar"
    mended.write_bytes(with_possible_owners(data))
    compare(mended, read(mended), "iso8859-1")


def with_possible_owners(data: bytes) -> bytes:
    impossible = b"\xff" * 4
    out = bytearray(data)
    for at in range(0, len(data), 512):
        block = bytearray(data[at : at + 512])
        if block[257:262] == b"ustar" and impossible in (block[112:116], block[120:124]):
            block[108:124] = b"0000000\0" * 2
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
            out[at : at + 512] = block
    return bytes(out)


def compare(path: Path, found: list[tuple[Entry, bytes]], encoding: str = "utf-8") -> None:
    with tarfile.open(path, encoding=encoding, errors="surrogateescape") as tar:
        members = [member for member in tar.getmembers() if member.type not in (b"V", b"A")]
        if "timestamp_overflow" in path.name or len(members) == 2 * len(found):
            return  # members of a type that python takes for files
        assert len(found) == len(members), path
        for (entry, data), member in zip(found, members, strict=True):
            assert shown(entry) == expected(member, encoding), path
            if entry.kind == "file" and entry.size < 1 << 24:
                opened = tar.extractfile(member)
                assert opened is not None
                assert data == opened.read(), (path, entry.path)


def shown(entry: Entry) -> tuple[object, ...]:
    link = entry.link if entry.kind == "symlink" else b""
    return entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime_ns // 10**9, entry.size, link


def expected(member: tarfile.TarInfo, encoding: str) -> tuple[object, ...]:
    path = encoded(os.path.normpath("/" + member.name).lstrip("/"), member, encoding)
    kind = KINDS[member.type]
    link = member.linkname.encode(encoding, "surrogateescape") if kind == "symlink" else b""
    size = member.size if kind == "file" else 0
    return path, kind, member.mode & 0o7777, member.uid, member.gid, int(member.mtime // 1), size, link


def encoded(name: str, member: tarfile.TarInfo, encoding: str) -> bytes:
    """What came by a PAX record was UTF-8 whatever the archive's encoding, unless it says or is otherwise."""
    by_record = {"path", "GNU.sparse.name"} & member.pax_headers.keys()
    return name.encode("utf-8" if by_record and not name.startswith(BINARY) else encoding, "surrogateescape")
