"""Every quality of a tar's member, written in every dialect that can say it, is read as what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable

import pytest
import zstandard
from rawtar import END, content, entries, header, padded, pax, read
from tarmaker import DIALECTS, FLAGS, HEADERS, RECORDS, SECOND, VALUES, Damage, Member, archive, members

from nacre.grammars.codecs.stream import decompress
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.words.errors import InvalidArchive

MEMBERS = members()
CASES = [(dialect, name) for dialect in DIALECTS for name in MEMBERS if DIALECTS[dialect](MEMBERS[name])]
dialects = pytest.mark.parametrize("dialect", DIALECTS)


def wanted(member: Member) -> tuple[Entry, bytes]:
    segments = member.segments
    kept = None if segments is None else tuple(part for part in segments if part[1])
    entry = Entry(
        member.path, member.kind, member.mode, member.uid, member.gid, member.mtime_ns, member.real_size,
        member.link, *member.device, member.xattrs, sparse=kept,
    )  # fmt: skip
    return entry, member.data


def found(data: bytes) -> list[tuple[Entry, bytes]]:
    return [(entry._replace(offset=-1), given) for entry, given in read(data)]


@pytest.mark.parametrize(("dialect", "name"), CASES)
def test_a_member_is_read_as_what_it_is(dialect: str, name: str) -> None:
    data, (member,) = archive(dialect, [MEMBERS[name]])
    assert found(data) == [wanted(member)]


@dialects
def test_members_do_not_mix(dialect: str) -> None:
    """All of a dialect in one archive, and each before and behind a plain one."""
    data, said = archive(dialect, MEMBERS.values())
    assert found(data) == [wanted(member) for member in said]
    plain = Member(b"plain", data=b"plain")
    between, _ = archive("ustar", [plain])
    data = b"".join(between[:-1024] + archive(dialect, [member])[0][:-1024] for member in said)
    assert found(data + END) == [wanted(each) for member in said for each in (plain, member)]


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "pax of libarchive"])
def test_python_reads_the_same(dialect: str) -> None:
    """The proof of what makes them: another reader, for all that it knows (no empty map of holes)."""
    known = [each for each in MEMBERS.values() if each.segments != () or dialect != "pax 0.1"]
    data, said = archive(dialect, known)
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for info, member in zip(tar, said, strict=True):
            shown = (info.name.encode("utf-8", "surrogateescape"), info.mode, info.uid, info.gid)
            assert shown == (member.path, member.mode, member.uid, member.gid)
            assert abs(info.mtime * SECOND - member.mtime_ns) < 300
            assert info.issparse() or info.size == len(member.data)
            assert not info.issym() or info.linkname.encode("utf-8", "surrogateescape") == member.link
            assert not member.segments or info.size == member.size


DECOMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "nothing": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress,
    "zstd": zstandard.compress,
    "gzip in members": lambda data: b"".join(gzip.compress(part) for part in pieces(data)),
    "zstd in frames": lambda data: b"".join(map(zstandard.compress, pieces(data))),
    "zstd behind a frame to skip": lambda data: b"\x50\x2a\x4d\x18\3\0\0\0abc" + zstandard.compress(data),
    "xz in streams": lambda data: b"".join(lzma.compress(part) for part in pieces(data)),
}  # fmt: skip


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 7000] for at in range(0, len(data), 7000)]


@pytest.mark.parametrize("codec", DECOMPRESSED)
@dialects
def test_a_compressed_archive_is_the_same(dialect: str, codec: str) -> None:
    data, said = archive(dialect, MEMBERS.values())
    stream = decompress(io.BytesIO(DECOMPRESSED[codec](data)))
    members = [(entry._replace(offset=-1), content(payload)) for entry, payload in read_tar(stream)]
    assert members == [wanted(member) for member in said]


@pytest.mark.parametrize("codec", [name for name in DECOMPRESSED if name != "nothing"])
def test_a_damaged_compressed_archive_is_refused(codec: str) -> None:
    data = DECOMPRESSED[codec](archive("ustar", MEMBERS.values())[0])
    for spoiled in (data[: len(data) // 2], data[:-5], data[:20], data[: len(data) // 2] + b"\xff" * 99):
        with pytest.raises(InvalidArchive):
            content(decompress(io.BytesIO(spoiled)))


ENDS = {
    "a marker": END, "nothing": b"", "one block of zeros": bytes(512), "many": bytes(10_240),
    "a marker and more": END + b"more" * 500, "a marker and an archive": END + header(b"second") + END,
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@dialects
def test_an_archive_may_end_in_many_ways(dialect: str, end: bytes) -> None:
    data, said = archive(dialect, MEMBERS.values())
    assert found(data[:-1024] + end) == [wanted(member) for member in said]


@dialects
def test_an_archive_cut_anywhere_is_refused_or_shorter(dialect: str) -> None:
    """At every block and beside it: refused, unless a member ends there but for its padding."""
    for name in [name for each, name in CASES if each == dialect and len(MEMBERS[name].data) < 3000]:
        data = archive(dialect, [MEMBERS[name]])[0][:-1024]
        padding = -len(MEMBERS[name].data) % 512
        for cut in [
            at + by for at in range(0, len(data), 512) for by in (0, 1, 511) if 0 < at + by < len(data)
        ]:
            if cut < len(data) - padding:
                with pytest.raises(InvalidArchive):
                    read(data[:cut])
            else:
                assert found(data[:cut]) == [wanted(MEMBERS[name])]


MARKED = ["v7", "ustar", "star", "gnu", "pax where needed", "pax of libarchive"]


@pytest.mark.parametrize("damage", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("dialect", MARKED)
def test_a_damaged_header_is_refused(dialect: str, damage: Damage) -> None:
    """First in an archive and behind others."""
    member = Member(b"dir/file", xattrs=((b"user.a", b"b"),) if "libarchive" in dialect else ())
    data, _ = archive(dialect, [member])
    assert len(entries(data)) == 1
    for before in (b"", archive(dialect, [member, member])[0][:-1024]):
        with pytest.raises(InvalidArchive):
            read(before + damage(data[:-1024]) + END)


@pytest.mark.parametrize("text", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("flag", [b"x", b"X", b"g"])
def test_a_damaged_record_is_refused(flag: bytes, text: bytes) -> None:
    """Also of a global header, which is read although it counts for nothing."""
    for before in (b"", b"10 mode=x\n"):
        block = header(b"records", flag, len(before + text)) + padded(before + text)
        with pytest.raises(InvalidArchive):
            read(block + header() + END)


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_an_impossible_record_is_refused(key: bytes, value: bytes) -> None:
    kind = b"1" if key == b"linkpath" else b"0"
    with pytest.raises(InvalidArchive):
        read(pax((key, value), (b"GNU.sparse.size", b"5")) + header(b"f", kind, link=b"l") + END)


@pytest.mark.parametrize("kind", [kind for kind in FLAGS if kind != "file"])
@pytest.mark.parametrize("magic", [bytes(8), b"ustar\x0000", b"ustar  \0"])
def test_only_files_have_content(kind: str, magic: bytes) -> None:
    """Whatever size is said of others, the next header follows at once, as Go reads it."""
    for said in (1, 512, 5000):
        block = header(b"odd", FLAGS[kind], said, b"file", magic=magic)
        for before in (b"", pax((b"size", b"700"))):
            assert [entry.size for entry in entries(header() + before + block + header() + END)] == [0, 0, 0]


@pytest.mark.parametrize("flag", [b"x", b"g", b"L", b"K"])
def test_an_extension_describes_something(flag: bytes) -> None:
    """One at the end of an archive is refused; a global one may stand there."""
    data = b"10 mode=1\n" if flag in b"xg" else b"name\0"
    block = header(b"extension", flag, len(data)) + padded(data)
    if flag == b"g":
        assert len(entries(header() + block + END)) == 1
        return
    for end in (END, b"", bytes(512)):
        with pytest.raises(InvalidArchive):
            read(header() + block + end)
