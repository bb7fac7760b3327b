"""What package managers and compilers leave about what is installed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacre.grammars.packages import apk, dpkg, golang, npm, python, rpm
from nacre.grammars.packages.package import Package
from nacre.words.errors import InvalidDocument

STATUS = b"""Package: curl
Status: install ok installed
Maintainer: A B <a@b.example>
Architecture: amd64
Source: curl-src (7.88-1)
Version: 7.88-1+b1
Description: words
 more: words
 .
 Version: 9

Package: gone
Status: deinstall ok config-files
Version: 1

Package: nameless
Status: install ok installed

Package: last
Version: 1:2.0~rc1
Homepage: https://last.example
Source: last"""


def test_dpkg() -> None:
    curl, last = dpkg.parse_status(STATUS, "/status")
    assert curl == Package(
        "deb", "curl", "7.88-1+b1", architecture="amd64", supplier="A B <a@b.example>",
        source="curl-src@7.88-1", path="/status",
    )  # fmt: skip
    assert (last.name, last.version, last.source) == ("last", "1:2.0~rc1", "last")
    assert next(dpkg.parse_status(STATUS.replace(b"\n", b"\r\n"), "/status")) == curl


def test_apk() -> None:
    data = (
        b"C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nF:lib\nR:ld.so\n\nP:x\n\n"
        b"P:musl-dev\nV:2\no:musl"
    )
    one, other = apk.parse_installed(data, "/i")
    assert one == Package("apk", "musl", "1.2.5-r0", architecture="x86_64", license="MIT", path="/i")
    assert (other.name, other.version, other.source) == ("musl-dev", "2", "musl")


# RPM


def header(**fields: str | int) -> bytes:
    """A header of rpm, with the tags of these names."""
    tags = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "license": 1014, "arch": 1022}
    rows, data = [], b""
    for name, value in fields.items():
        if isinstance(value, int):
            data += bytes(-len(data) % 4)
            rows.append(pack(">IIII", tags[name], 4, len(data), 1))
            data += pack(">I", value)
        else:
            rows.append(pack(">IIII", tags[name], 6, len(data), 1))
            data += value.encode() + b"\0"
    return pack(">II", len(rows), len(data)) + b"".join(rows) + data


def database(tmp_path: Path, *statements: str, rows: list[bytes] | None = None, wal: bool = False) -> bytes:
    path = tmp_path / "rpmdb.sqlite"
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode=WAL")
    for statement in statements or ("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)",):
        connection.execute(statement)
    for blob in rows or []:
        connection.execute("INSERT INTO Packages (blob) VALUES (?)", (blob,))
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("wal", [False, True])
def test_rpm(tmp_path: Path, wal: bool) -> None:
    bash = header(
        name="bash", version="5.2", release="1.fc40", epoch=2, license="GPL-3.0-or-later", arch="x86_64"
    )
    data = database(tmp_path, rows=[bash, header(name="gpg-pubkey", version="1")], wal=wal)
    (found,) = rpm.parse_database(data, "/r")
    expected = Package("rpm", "bash", "5.2-1.fc40", architecture="x86_64", epoch="2", path="/r")
    assert found == expected.replace(license="GPL-3.0-or-later")


ENDLESS = (
    "CREATE VIEW Packages AS WITH RECURSIVE n(hnum, blob) AS "
    "(SELECT 1, x'00' UNION ALL SELECT hnum + 1, blob FROM n) SELECT * FROM n"
)


@pytest.mark.parametrize(
    "made",
    [
        lambda path: b"no database",
        lambda path: b"SQLite format 3\0" + bytes(300),
        lambda path: database(path)[:3000],
        lambda path: database(path, ENDLESS),
        lambda path: database(path, "CREATE TABLE Other (a)"),
        lambda path: database(path, rows=[b"\xff" * 20]),
        lambda path: database(path, rows=[pack(">II", 1 << 31, 4)]),
    ],
)
def test_a_hostile_rpm_database_is_an_error(tmp_path: Path, made: Callable[[Path], bytes]) -> None:
    with pytest.raises(InvalidDocument, match=r"^/r (is not|cannot be read|holds a damaged)"):
        list(rpm.parse_database(made(tmp_path), "/r"))


# Python and npm


def test_python() -> None:
    data = b"Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0\nLicense: MIT\nAuthor: A\n\nName: no\n"
    expected = Package("pypi", "Foo.Bar", "1.0", license="MIT", supplier="A", path="/m")
    assert python.parse_metadata(data, "/m") == expected
    assert python.parse_metadata(b"Name: a\n", "/m") is None
    assert python.is_metadata(b"usr/lib/a-1.dist-info/METADATA")
    assert python.is_metadata(b"a.egg-info/PKG-INFO")
    assert python.is_metadata(b"usr/a-1.egg-info")
    assert not python.is_metadata(b"usr/METADATA")


def test_npm() -> None:
    manifest = {"name": "@scope/a", "version": "1.2.3", "license": {"type": "ISC"}, "author": {"name": "A"}}
    found = npm.parse_manifest(json.dumps(manifest).encode(), "/p")
    assert found == Package("npm", "a", "1.2.3", "@scope", license="ISC", supplier="A", path="/p")
    assert npm.is_manifest(b"app/node_modules/a/package.json")
    assert npm.is_manifest(b"node_modules/@scope/a/package.json")
    assert not npm.is_manifest(b"app/package.json")
    assert not npm.is_manifest(b"app/node_modules/a/test/package.json")
    assert npm.parse_manifest(b'["a"]', "/p") is None
    assert npm.parse_manifest(b'{"name": 5, "version": "1"}', "/p") is None


@pytest.mark.parametrize(
    "lock",
    [
        {"packages": {
            "": {"name": "app", "version": "0"}, "node_modules/a": {"version": "1"},
            "node_modules/a/node_modules/@s/b": {"version": "2"},
            "node_modules/d": {"version": "3", "dev": True}, "node_modules/l": {"link": True},
        }},
        {"dependencies": {
            "a": {"version": "1", "dependencies": {"@s/b": {"version": "2"}}},
            "d": {"version": "3", "dev": True},
        }},
    ],
)  # fmt: skip
def test_npm_locks(lock: Any) -> None:
    found = [
        (one.namespace, one.name, one.version) for one in npm.parse_lock(json.dumps(lock).encode(), "/l")
    ]
    assert sorted(found) == [("", "a", "1"), ("@s", "b", "2")]


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b"\xff\xfe"])
def test_a_broken_lock_is_an_error(data: bytes) -> None:
    with pytest.raises(InvalidDocument, match="/l is not valid JSON"):
        list(npm.parse_lock(data, "/l"))


# Go


def prefixed(text: bytes) -> bytes:
    size, out = len(text), b""
    while size >= 0x80:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size]) + text


MODULES = (
    b"path\tx.example/cmd/app\nmod\tx.example/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:x\n"
    b"dep\tgithub.com/c\tv0.1.0\n=>\tgithub.com/fork/c\tv0.2.0\th1:y\nbuild\t-compiler=gc\n"
)


def program(*, inline: bool = True, sections: bool = True, order: str = "<") -> bytes:
    """An ELF file with one writable segment, which begins with the build information."""
    framed = b"\1" * 16 + MODULES + b"\2" * 16
    base, begin = 0x400000, 64 + 56
    if inline:
        info = b"\xff Go buildinf:" + b"\x08\x02" + bytes(16) + prefixed(b"go1.22.1") + prefixed(framed)
    else:
        big = b"\1" if order == ">" else b"\0"
        heads = base + begin + 32
        info = b"\xff Go buildinf:\x08" + big + pack(order + "QQ", heads, heads + 16)
        info += (
            pack(order + "QQ", heads + 32, 8)
            + pack(order + "QQ", heads + 40, len(framed))
            + b"go1.16.3"
            + framed
        )
    names = b"\0.go.buildinfo\0.shstrtab\0"
    table = begin + len(info) + len(names)
    head = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + bytes(9)
    head += pack(
        order + "HHIQQQIHHHHHH", 2, 62, 1, base, 64, table if sections else 0, 0, 64, 56, 1,
        64 if sections else 0, 3 if sections else 0, 2,
    )  # fmt: skip
    segment = pack(order + "IIQQQQQQ", 1, 6, begin, base + begin, 0, len(info), len(info), 16)
    rows = bytes(64) + pack(order + "IIQQQQIIQQ", 1, 1, 3, base + begin, begin, len(info), 0, 0, 16, 0)
    rows += pack(order + "IIQQQQIIQQ", 15, 3, 0, 0, begin + len(info), len(names), 0, 0, 1, 0)
    return head + segment + info + names + (rows if sections else b"")


def reading(data: bytes) -> golang.ReadAt:
    return lambda offset, count: data[offset : offset + count] if offset < len(data) else b""


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (program(), "1.22.1"), (program(sections=False), "1.22.1"), (program(inline=False), "1.16.3"),
        (program(inline=False, order=">"), "1.16.3"),
    ],
)  # fmt: skip
def test_go(data: bytes, version: str) -> None:
    found = list(golang.parse_program(reading(data), "/app"))
    assert [(one.namespace, one.name, one.version) for one in found] == [
        ("", "stdlib", version), ("x.example", "app", ""), ("github.com/a", "b", "v1.2.3"),
        ("github.com/fork", "c", "v0.2.0"),
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(program()) - 1), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_program_is_left_out_or_read(at: int, bytes_: bytes, cut: bool) -> None:
    data = program()
    data = data[:at] if cut else data[:at] + bytes_ + data[at + len(bytes_) :]
    assert len(list(golang.parse_program(reading(data), "/app"))) < 10_000


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_no_database_of_text_makes_it_fail(data: bytes) -> None:
    for parse in (dpkg.parse_status, apk.parse_installed):
        assert all(one.name and one.version for one in parse(data, "/x"))
    python.parse_metadata(data, "/x")
