"""Reading and writing tar: every form there is, and that both agree."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rawtar import END, content, entries, extension, header, padded, pax, read, write

from nacre.grammars.layer.whiteouts import whiteout
from nacre.grammars.tar.entry import Entry
from nacre.grammars.tar.read import read_tar
from nacre.grammars.tar.write import TarWriter
from nacre.words.errors import InvalidArchive

SECOND = 1_000_000_000

# --- names


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a", b"a"), (b"./a/b", b"a/b"), (b"/a/b", b"a/b"), (b"a//b/./c", b"a/b/c"), (b"a/../b", b"b"),
        (b".a/.b", b".a/.b"), (b"..a", b"..a"), (b"a/..b", b"a/..b"), (b"././/a", b"a"),
        (b"a//", b"a"), (b"./a//", b"a"), (b"a/b///", b"a/b"), (b"a/.//", b"a"), (b"//a//b//", b"a/b"),
        (b"\xff\xfe", b"\xff\xfe"), (b"a\nb", b"a\nb"), (b"n" * 100, b"n" * 100),
    ],
)  # fmt: skip
def test_paths_are_normal(name: bytes, path: bytes) -> None:
    assert [entry.path for entry in entries(header(name) + END)] == [path]


@given(st.lists(st.sampled_from([b"a", b"bc", b".", b"", b"..", b".d", b"e."]), max_size=6).map(b"/".join))
def test_a_name_in_any_form_is_its_shortest(name: bytes) -> None:
    """Of an entry, of the target of a hard link, and in an extended header."""
    name = b"a/" + name
    for tar in (header(name, b"5"), header(b"h", b"1", link=name), pax((b"path", name)) + header(flag=b"5")):
        with suppress(InvalidArchive):  # it leads above the root, or is the root
            (entry,) = entries(tar + END)
            assert (entry.link or entry.path or b".") == os.path.normpath(name)


@pytest.mark.parametrize("name", [b"./", b"/", b"././", b"a/.."])
def test_the_root_is_the_empty_path(name: bytes) -> None:
    assert entries(header(name, b"5") + END)[0].path == b""


@pytest.mark.parametrize("name", [b"../a", b"a/../../b", b"/../a", b"..", b"./.."])
def test_refuses_paths_that_climb(name: bytes) -> None:
    with pytest.raises(InvalidArchive, match="leads above the root"):
        entries(header(name) + END)
    with pytest.raises(InvalidArchive, match="leads above the root"):
        entries(header(b"link", b"1", link=name) + END)


@pytest.mark.parametrize("flag", [b"0", b"1", b"2", b"3", b"6"])
@pytest.mark.parametrize("name", [b".", b"/.", b"./", b""])
def test_refuses_a_root_that_is_no_folder(flag: bytes, name: bytes) -> None:
    with pytest.raises(InvalidArchive, match="not a directory"):
        entries(header(name, flag, link=b"/etc") + END)


def test_ustar_prefixes_come_first() -> None:
    long = header(b"name", tail=bytes(80) + b"some/folder")
    assert entries(long + END)[0].path == b"some/folder/name"


def test_gnu_times_are_no_prefix() -> None:
    old = header(b"name", magic=b"ustar  \0", tail=bytes(80) + b"12345670123\x0012345670123\0")
    assert entries(old + END)[0].path == b"name"


def test_gnu_long_names_and_links() -> None:
    data = (
        extension(b"L", b"n" * 300 + b"\0")
        + extension(b"K", b"t" * 400 + b"\0")
        + header(b"short", b"2", link=b"s")
    )
    entry = entries(data + END)[0]
    assert (entry.path, entry.link) == (b"n" * 300, b"t" * 400)


def test_pax_wins_over_gnu_and_counts_for_one_member_only() -> None:
    data = extension(b"L", b"gnu\0") + pax((b"path", b"pax")) + header(b"a") + header(b"b")
    assert [entry.path for entry in entries(data + END)] == [b"pax", b"b"]


def test_v7_folders_end_in_a_slash() -> None:
    v7 = header(b"folder/", b"\0", magic=bytes(8))
    assert entries(v7 + END)[0].kind == "dir"


# --- numbers


def test_base_256_numbers() -> None:
    data = header(uid=b"\x80" + bytes(3) + b"\x7f\xff\xff\xff", size=b"\x80" + bytes(10) + b"\x05") + padded(
        b"hello"
    )
    [(entry, found)] = read(data + END)
    assert (entry.uid, entry.size, found) == (0x7FFFFFFF, 5, b"hello")


def test_negative_times() -> None:
    assert entries(header(mtime=b"\xff" * 11 + b"\xfe") + END)[0].mtime_ns == -2 * SECOND
    assert entries(pax((b"mtime", b"-1.5")) + header() + END)[0].mtime_ns == -SECOND * 3 // 2


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"1", SECOND),
        (b"1.5", SECOND * 3 // 2),
        (b"0.0000000019", 1),
        (b"12.", 12 * SECOND),
        (b"-0.1", -100_000_000),
    ],
)
def test_pax_times(text: bytes, nanoseconds: int) -> None:
    assert entries(pax((b"mtime", text)) + header() + END)[0].mtime_ns == nanoseconds


def test_pax_size_counts_for_the_payload() -> None:
    [(entry, found)] = read(pax((b"size", b"3")) + header(size=0) + padded(b"abc") + END)
    assert (entry.size, found) == (3, b"abc")


def test_signed_checksums_of_old_writers() -> None:
    block = header(b"\xff\xfe")
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    assert entries(block[:148] + b"%06o\0 " % signed + block[156:] + END)[0].path == b"\xff\xfe"


def test_mode_has_twelve_bits() -> None:
    assert entries(header(mode=b"0104755\0") + END)[0].mode == 0o4755


@pytest.mark.parametrize(
    "records",
    [
        (b"uid", b"4294967295"),
        (b"uid", b"-1"),
        (b"gid", b"99999999999999999999"),
        (b"size", b"1x"),
        (b"mtime", b"now"),
    ],
)
def test_refuses_impossible_numbers(records: tuple[bytes, bytes]) -> None:
    with pytest.raises(InvalidArchive):
        entries(pax(records) + header() + END)


@pytest.mark.parametrize(
    "field", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"0000000008\0\0", b"0x00000001\0\0"]
)
def test_refuses_sizes_that_lie(field: bytes) -> None:
    with pytest.raises(InvalidArchive):
        entries(header(size=field) + END)


# --- kinds


def test_links_devices_and_folders_have_no_payload() -> None:
    flags = b"1", b"2", b"3", b"4", b"5", b"6"
    data = b"".join(header(b"n%d" % n, flag, 512, b"target") for n, flag in enumerate(flags))
    assert [entry.kind for entry in entries(data + END)] == [
        "hardlink",
        "symlink",
        "char",
        "block",
        "dir",
        "fifo",
    ]


def test_device_numbers() -> None:
    assert entries(header(b"d", b"4", tail=bytes(64) + b"0000010\x000003720\0") + END)[0][8:10] == (8, 2000)
    with pytest.raises(InvalidArchive, match="impossible device"):
        entries(header(b"d", b"3", tail=bytes(64) + b"0010000\x000000000\0") + END)


def test_symlink_targets_stay_as_they_are_and_hard_links_are_normal() -> None:
    data = header(b"s", b"2", link=b"../..//x/") + header(b"h", b"1", link=b"./a//b")
    assert [entry.link for entry in entries(data + END)] == [b"../..//x/", b"a/b"]


def test_volume_labels_and_solaris_acls_are_passed_over() -> None:
    data = header(b"label", b"V") + extension(b"A", b"user::rwx") + header(b"file")
    assert [entry.path for entry in entries(data + END)] == [b"file"]


@pytest.mark.parametrize("flag", [b"M", b"N", b"Q", b"8", b"\xff"])
def test_refuses_unknown_types(flag: bytes) -> None:
    with pytest.raises(InvalidArchive, match="unknown type"):
        entries(header(b"odd", flag) + END)


# --- extended headers


def test_global_records_are_applied_only_on_demand() -> None:
    data = (
        pax((b"mtime", b"7"), flag=b"g") + header(b"a") + pax((b"mtime", b"8")) + header(b"b") + header(b"c")
    )
    assert [entry.mtime_ns for entry in entries(data + END)] == [0, 8 * SECOND, 0]
    applied = [entry.mtime_ns for entry, _data in read(data + END, apply_globals=True)]
    assert applied == [7 * SECOND, 8 * SECOND, 7 * SECOND]


def test_xattrs_of_both_kinds() -> None:
    data = pax((b"SCHILY.xattr.user.b", b"\0two\n"), (b"LIBARCHIVE.xattr.user.a%3D", b"b25l"))
    assert entries(data + header() + END)[0].xattrs == ((b"user.a=", b"one"), (b"user.b", b"\0two\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"5 a\n",
        b"999 path=a\n",
        b"x path=a\n",
        b"0 path=a\n",
        b"-3 a=b\n",
        b"12 path=abcd",
        b" 8 a=b\n",
        b"6 a=b",
        b"\0" * 20,
    ],
)
def test_refuses_damaged_records(data: bytes) -> None:
    with pytest.raises(InvalidArchive, match="extended header"):
        entries(extension(b"x", data) + header() + END)


def test_refuses_zero_bytes_in_names() -> None:
    for key in (b"path", b"linkpath"):
        with pytest.raises(InvalidArchive, match="zero byte"):
            entries(pax((key, b"a\0b")) + header() + END)


def test_refuses_a_flood_of_extended_headers() -> None:
    with pytest.raises(InvalidArchive, match="over 100 consecutive extended headers"):
        entries(pax((b"comment", b"x")) * 101 + header() + END)


@pytest.mark.parametrize("size", [1 << 20, 1 << 62])
def test_refuses_huge_extended_headers(size: int) -> None:
    field = b"\x80" + (size + 1).to_bytes(11, "big")
    with pytest.raises(InvalidArchive, match="extended header of"):
        entries(header(b"x", b"x", field))


def test_refuses_names_of_100_kilobytes() -> None:
    with pytest.raises(InvalidArchive, match="name of 100000 bytes"):
        entries(pax((b"path", b"n" * 100_000)) + header() + END)


# --- ends


def test_the_end_marker_may_be_missing_and_the_last_padding_too() -> None:
    assert entries(header(b"a", size=3) + b"abc")[0].size == 3
    assert entries(b"") == []


def test_what_follows_the_end_is_not_read() -> None:
    assert len(entries(header(b"a") + END + header(b"b") + END)) == 1


def test_refuses_truncation_at_every_byte_but_the_harmless() -> None:
    data = header(b"a", size=600) + padded(bytes(600)) + pax((b"path", b"long")) + header(b"b")
    for end in range(100, len(data), 100):
        if not 512 + 600 <= end <= 512 + 1024:
            with pytest.raises(InvalidArchive, match=r"truncated|not a tar"):
                entries(data[:end])


def test_refuses_a_lone_block_of_zeros_and_rubbish() -> None:
    with pytest.raises(InvalidArchive, match="single zero block"):
        entries(header(b"a") + bytes(512) + header(b"b"))
    with pytest.raises(InvalidArchive, match="not a tar archive"):
        entries(b"<html>" * 200)
    with pytest.raises(InvalidArchive, match="checksum"):
        entries(header(b"a") + b"x" * 512)


def test_bounds_the_number_of_entries() -> None:
    data = header() * 5 + END
    assert len(list(read_tar(io.BytesIO(data), 5))) == 5
    with pytest.raises(InvalidArchive, match="more than the 4"):
        list(read_tar(io.BytesIO(data), 4))


def test_unread_payloads_are_skipped_by_seeking_where_possible() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    big = 5 << 20
    data = header(b"a", size=big) + bytes(big) + header(b"b", size=big) + bytes(big) + END
    stream = Counting(data)
    offsets = [(entry.path, entry.offset) for entry, _payload in read_tar(stream)]
    assert offsets == [(b"a", 512), (b"b", 1024 + big)]
    assert stream.count < 2 << 20
    with pytest.raises(InvalidArchive, match="truncated"):
        list(read_tar(io.BytesIO(data[:-2048])))


# --- sparse

MAP = [(0, 5), (1000, 3), (4096, 0)]
SPARSE_DATA = b"helloyou"


def old_gnu(count: int) -> bytes:
    fields = [b"%011o\0%011o\0" % (n * 100, 1) for n in range(count)]
    block = b"".join(fields[:4]).ljust(96, b"\0") + bytes([count > 4]) + b"%011o\0" % (count * 100)
    blocks = b""
    for at in range(4, count, 21):
        blocks += b"".join(fields[at : at + 21]).ljust(504, b"\0") + bytes([count > at + 21]) + bytes(7)
    return (
        header(b"s", b"S", count, magic=b"ustar  \0", tail=bytes(121) + block) + blocks + padded(b"x" * count)
    )


@pytest.mark.parametrize("count", [1, 4, 5, 25, 26, 100])
def test_old_gnu_sparse_files(count: int) -> None:
    [(entry, found)] = read(old_gnu(count) + END)
    assert entry.sparse == tuple((n * 100, 1) for n in range(count))
    assert (entry.size, found) == (count * 100, b"x" * count)


SIZE = (b"GNU.sparse.size", b"4096")
KEYS = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
PAX_SPARSE = {
    "0.0": [
        SIZE,
        *((key, b"%d" % value) for segment in MAP for key, value in zip(KEYS, segment, strict=True)),
    ],
    "0.1": [SIZE, (b"GNU.sparse.name", b"s"), (b"GNU.sparse.map", b"0,5,1000,3,4096,0")],
}


@pytest.mark.parametrize("version", PAX_SPARSE)
def test_pax_sparse_files_with_the_map_in_the_records(version: str) -> None:
    data = pax(*PAX_SPARSE[version]) + header(b"s", size=len(SPARSE_DATA)) + padded(SPARSE_DATA)
    [(entry, found)] = read(data + END)
    assert (entry.path, entry.size, entry.sparse, found) == (b"s", 4096, ((0, 5), (1000, 3)), SPARSE_DATA)


def sparse_1_0(text: bytes, payload: bytes = SPARSE_DATA, size: bytes = b"4096") -> bytes:
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"s")]
    stored = padded(text) + payload
    return (
        pax(*records, (b"GNU.sparse.realsize", size)) + header(b"x", size=len(stored)) + padded(stored) + END
    )


def test_pax_sparse_files_with_the_map_in_the_payload() -> None:
    [(entry, found)] = read(sparse_1_0(b"3\n0\n5\n1000\n3\n4096\n0\n"))
    assert (entry.path, entry.size, entry.sparse, found) == (b"s", 4096, ((0, 5), (1000, 3)), SPARSE_DATA)
    assert entry.offset == 512 * 4
    assert entry.stored == 8


@pytest.mark.parametrize(
    "text",
    [
        b"3\n0\n5\n1000\n3\n4097\n0\n", b"2\n0\n5\n3\n3\n", b"2\n1000\n5\n0\n3\n", b"1\n0\n9\n", b"1\n0\n7\n",
        b"99999999\n", b"1\n0\n-8\n", b"1\n9223372036854775807\n8\n", b"x\n", b"1\n", b"1\n0\n" + b"8" * 600,
    ],
)  # fmt: skip
def test_refuses_sparse_maps_that_lie(text: bytes) -> None:
    with pytest.raises(InvalidArchive):
        read(sparse_1_0(text))


# --- whiteouts


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        (b"a/.wh.b", ("remove", b"a/b")), (b".wh.b", ("remove", b"b")), (b"a/.wh..wh..opq", ("opaque", b"a")),
        (b".wh..wh..opq", ("opaque", b"")), (b".wh..wh.plnk", ("ignore", b"")),
        (b".wh..wh.plnk/1.2", ("ignore", b"")),
        (b".wh.etc/some", None), (b"a/.wh.b/c", None), (b".wh..wh..opq/x", None), (b"a/.wh..wh.x/y", None),
        (b".wh.a/.wh.b", ("remove", b".wh.a/b")),
        (b"a/b", None), (b"a.wh.b", None), (b".wh.wh", ("remove", b"wh")), (b".wh....", ("remove", b"...")),
    ],
)  # fmt: skip
def test_whiteouts(path: bytes, meaning: tuple[str, bytes] | None) -> None:
    assert whiteout(path) == meaning


@pytest.mark.parametrize("path", [b".wh.", b"a/.wh..", b".wh...", b".wh.a/.wh."])
def test_refuses_whiteouts_of_nothing(path: bytes) -> None:
    with pytest.raises(InvalidArchive, match="whiteout"):
        whiteout(path)


# --- writing

parts = st.binary(min_size=1, max_size=120).map(lambda part: part.replace(b"/", b"-").replace(b"\0", b"0"))
names = st.lists(
    parts.filter(lambda part: part not in (b".", b"..")), min_size=1, max_size=5
).map(b"/".join)  # fmt: skip
keys = st.binary(min_size=1, max_size=40).map(lambda name: b"user." + name.replace(b"\0", b"0"))
xattrs = st.dictionaries(keys, st.binary(max_size=60), max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
looks = {
    "path": names, "mode": st.integers(0, 0o7777), "uid": st.integers(0, (1 << 32) - 2),
    "gid": st.integers(0, (1 << 32) - 2), "mtime_ns": st.integers(-(1 << 66), 1 << 66), "xattrs": xattrs,
}  # fmt: skip


@st.composite
def segments(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    found, end = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 600)), max_size=5)):
        found.append((end + gap, length))
        end += gap + length
    return tuple(found)


@st.composite
def members(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(st.sampled_from(["file", "sparse", "dir", "symlink", "hardlink", "char", "block", "fifo"]))
    entry = Entry(
        **{key: draw(value) for key, value in looks.items()}, kind="file" if kind == "sparse" else kind
    )  # type: ignore[arg-type]
    if kind == "file":
        data = draw(st.binary(max_size=1500))
        return entry._replace(size=len(data)), data
    if kind == "sparse":
        sparse = draw(segments())
        end = sum(sparse[-1]) if sparse else 0
        entry = entry._replace(sparse=sparse, size=end + draw(st.integers(0, 1 << 40)))
        return entry, bytes(entry.stored)
    if kind in ("symlink", "hardlink"):
        return entry._replace(link=draw(names)), b""
    if kind in ("char", "block"):
        return entry._replace(
            major=draw(st.integers(0, 4095)), minor=draw(st.integers(0, (1 << 20) - 1))
        ), b""
    return entry, b""


@settings(deadline=None, max_examples=200)
@given(st.lists(members(), max_size=6))
def test_what_is_written_is_read(items: list[tuple[Entry, bytes]]) -> None:
    data = write(items)
    assert len(data) % 512 == 0
    assert write(items) == data
    found = read(data)
    assert [(entry._replace(offset=-1), payload) for entry, payload in found] == items
    for entry, payload in found:
        if entry.sparse is None:
            assert data[entry.offset : entry.offset + entry.size] == payload


def test_small_entries_take_one_block() -> None:
    plain = Entry(b"usr/bin/program", "file", 0o755, 0, 0, 1_700_000_000 * SECOND)
    assert len(write([(plain, b"")])) == 512 + 1024
    long = plain._replace(path=b"folder/" * 20 + b"name")
    assert len(write([(long, b"")])) == 512 + 1024
    assert len(write([(plain._replace(path=b"n" * 101), b"")])) == 3 * 512 + 1024


def test_the_writer_gives_offsets_and_refuses_wrong_lengths() -> None:
    writer = TarWriter(lambda data: None)
    assert writer.add(Entry(b"a", size=3), io.BytesIO(b"abc")).offset == 512
    assert writer.add(Entry(b"b", size=1), io.BytesIO(b"x")).offset == 1536
    for data in (b"ab", b"abcd"):
        with pytest.raises(InvalidArchive, match="'a' is not as long"):
            writer.add(Entry(b"a", size=3), io.BytesIO(data))


ODD = [
    Entry(b"", "dir", 0o755), Entry(b"dir", "dir", 0o1777, mtime_ns=5), Entry(b"d/" * 120 + b"deep", size=4),
    Entry("dir/ünï".encode(), size=4, mode=0o4755), Entry(b"latin-\xe9", size=4),
    Entry(b"n" * 200, "symlink", link=b"t" * 200), Entry(b"hard", "hardlink", link=b"latin-\xe9"),
    Entry(b"big", uid=3_000_000_000, gid=4_000_000),
    Entry(b"old", mtime_ns=-1_500_000_000), Entry(b"attr", xattrs=((b"user.x", b"\0\xff\n="),)),
    Entry(b"pipe", "fifo"), Entry(b"null", "char", major=1, minor=3),
    Entry(b"holes", size=1 << 30, sparse=((4096, 4),)),
]  # fmt: skip


def odd_archive() -> bytes:
    return write([(entry, b"data"[: entry.stored]) for entry in ODD])


def test_python_reads_what_we_write() -> None:
    with tarfile.open(fileobj=io.BytesIO(odd_archive()), encoding="utf-8", errors="surrogateescape") as tar:
        found = tar.getmembers()
    assert [member.name.encode("utf-8", "surrogateescape").strip(b"./") for member in found] == [
        entry.path for entry in ODD
    ]
    assert [member.size for member in found] == [entry.size for entry in ODD]
    assert [(member.uid, member.gid, member.mode) for member in found] == [
        (*entry[3:5], entry.mode) for entry in ODD
    ]


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_other_programs_read_what_we_write(program: str, tmp_path: Path) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    archive = tmp_path / "odd.tar"
    archive.write_bytes(odd_archive())
    listed = subprocess.run(
        [program, "-tf", archive],
        check=True,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert len(listed.stdout.splitlines()) == len(ODD)
    assert not listed.stderr


# --- anything at all


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=3000))
def test_rubbish_is_read_or_refused(data: bytes) -> None:
    with suppress(InvalidArchive):
        read(data)


@settings(deadline=None, max_examples=500)
@given(st.data())
def test_damaged_archives_are_read_or_refused(data: st.DataObject) -> None:
    good = odd_archive()
    at = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.integers(1, 20))
    damage = data.draw(st.binary(min_size=length, max_size=length))
    block = at - at % 512
    bad = bytearray(good[:at] + damage + good[at + length :])
    fields = bad[block : block + 148] + b" " * 8 + bad[block + 156 : block + 512]
    bad[block + 148 : block + 156] = b"%06o\0 " % sum(fields)  # let it pass the checksum
    with suppress(InvalidArchive):
        for _entry, payload in read_tar(io.BytesIO(bytes(bad)), 1000):
            content(payload)
