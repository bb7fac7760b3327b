"""Messages that name the thing: roots where nothing can be made, files, ages, machines."""

from __future__ import annotations

import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tarkit import tar_of

from nacre.stores.registry import RegistryStore
from nacre.words.oci import Platform


@pytest.mark.parametrize("root", ["/proc/x", "/proc/x/y/z", "/sys/x", "/dev/null/x"])
def test_a_root_that_cannot_be_made(nacre: Any, root: str) -> None:
    nacre.root = Path(root)
    said = nacre("images", check=False)
    assert said.code == 1
    assert said.err.startswith("nacre: cannot create the directory /")
    assert said.err.count("\n") == 1
    nacre.root = nacre.folder / "store"


def test_a_wrong_value_in_the_database_is_no_bug(nacre: Any) -> None:
    nacre("import", "-", "box:1", input=tar_of(f=b"x"))
    with closing(sqlite3.connect(nacre.root / "nacre.db", isolation_level=None)) as database:
        database.execute("UPDATE ref SET descriptor = '{'")
    said = nacre("image", "inspect", "box:1", check=False)
    assert "it is damaged: the row of ref docker.io/library/box:1 has a value that cannot be one" in said.err
    assert "`nacre system check --repair`" in said.err
    assert "the row of ref docker.io/library/box:1" in nacre("system", "check", check=False).out
    nacre("system", "check", "--repair", check=False)
    assert "box" in nacre("images").out
    nacre("system", "check")


@pytest.mark.parametrize("words", [("ps", "--last=a\nb\x1b[2J\u202e"), ("ps", "--a\nb\x1b[2J\u202e")])
def test_an_argument_does_not_command_the_terminal(nacre: Any, words: tuple[str, ...]) -> None:
    said = nacre(*words, check=False)
    assert "a\\nb\\x1b[2J\\u202e" in said.err
    assert said.err.count("\n") == 2


@pytest.mark.parametrize("words", [("rm",), ("rm", "-f"), ("rmi",), ("wait",), ("inspect",), ("start",)])
def test_nor_does_one_of_several_names(nacre: Any, words: tuple[str, ...]) -> None:
    said = nacre(*words, "a\x1b[2Jb", check=False)
    assert "\x1b" not in said.err
    assert "a\\x1b[2Jb" in said.err


def test_bytes_that_no_database_takes(nacre: Any, tmp_path: Path) -> None:
    RegistryStore(str(tmp_path / "registry")).close()
    words = "registry", "audit", "--root", str(tmp_path / "registry"), "--repository"
    said = nacre(*words, os.fsdecode(b"\xff"), check=False)
    assert (said.code, said.err) == (1, "nacre: '\\udcff' is not valid UTF-8\n")


@pytest.mark.parametrize(
    ("created", "images", "history"),
    [
        ("0001-01-01T00:00:00Z", "N/A", "N/A"),
        ("1970-01-01T00:00:00Z", "N/A", "N/A"),
        ("1990-01-01T00:00:00Z", "years ago", "N/A"),
        ("2001-01-01T00:00:00Z", "years ago", "years ago"),
    ],
)
def test_times_that_were_not_taken(nacre: Any, created: str, images: str, history: str) -> None:
    from nacre.words.quickjson import dumps

    layer = tar_of(f=b"x")
    (nacre.folder / "image.tar").write_bytes(docker_archive(layer, dumps({"created": created})))
    nacre("load", "-q", "-i", "image.tar")
    assert nacre("images", "--format", "{{.CreatedSince}}").out.strip().endswith(images)
    assert nacre("history", "--format", "{{.CreatedSince}}", "old:1").lines[0].endswith(history)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_the_ends_of_time(monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    """Local time may leave the years that there are."""
    import time

    from nacre.cli.output import local_rfc3339, timestamp

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert timestamp(local_rfc3339(timestamp(text))) == timestamp(text)
    finally:
        monkeypatch.undo()
        time.tzset()


def docker_archive(layer: bytes, extra: str) -> bytes:
    from hashlib import sha256

    from nacre.words.quickjson import dumps, loads

    diff_id = "sha256:" + sha256(layer).hexdigest()
    fields = loads(extra)
    config = {"os": "linux", "architecture": Platform.host().architecture, **fields}
    config |= {"rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [fields]}
    manifest = [{"Config": "config.json", "RepoTags": ["old:1"], "Layers": ["layer.tar"]}]
    return tar_of(**{
        "config.json": dumps(config).encode(), "layer.tar": layer, "manifest.json": dumps(manifest).encode(),
    })  # fmt: skip


@pytest.mark.parametrize("where", ["missing/out.tar", "file/out.tar"])
@pytest.mark.parametrize("command", ["save", "export"])
def test_the_file_that_was_asked_for_is_named(nacre: Any, command: str, where: str) -> None:
    nacre("import", "-", "app:1", input=tar_of(f=b"x"))
    nacre("create", "--name", "app", "app:1", "true")
    (nacre.folder / "file").touch()
    said = nacre(command, "-o", where, "app:1" if command == "save" else "app", check=False)
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith(f"nacre: cannot write {where}: ")
    assert ".part" not in said.err


def elf(machine: int) -> bytes:
    """A program that no machine of ours runs."""
    head = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 4096, 4096, 4096) + bytes(4096)


@pytest.fixture
def alien(nacre: Any, busybox_tar: bytes) -> Any:
    """An image of a machine that is neither this one nor one that an emulator is registered for."""
    if not Path("/bin/true").exists():
        pytest.skip("no programs here")
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("bin/sh", elf(0x1234)), ("bin/text", b"neither\n")):
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(data)
            tar.addfile(info, io.BytesIO(data))
    nacre("import", "--platform", "linux/s390x", "-", "alien:1", input=out.getvalue())
    nacre("import", "-", "text:1", input=out.getvalue())
    return nacre


def test_a_program_for_another_machine(alien: Any) -> None:
    host = Platform.host()
    said = alien("run", "--rm", "--platform", "linux/s390x", "alien:1", "/bin/sh", check=False)
    assert said.code == 126
    assert said.err == (
        'nacre: exec: "/bin/sh": exec format error\n'
        f"hint: the image is for linux/s390x, this machine is {host}\n"
    )
    said = alien("run", "-d", "--platform", "linux/s390x", "--name", "back", "alien:1", "sh", check=False)
    assert (said.code, said.err.count("the image is for linux/s390x")) == (126, 1)
    said = alien("start", "-a", "back", check=False)
    assert "the image is for linux/s390x" in said.err


def test_no_program_at_all(alien: Any) -> None:
    said = alien("run", "--rm", "text:1", "/bin/text", check=False)
    assert said.code == 126
    assert "hint: it is neither a program for linux/" in said.err


def test_a_build_for_another_machine(alien: Any) -> None:
    (alien.folder / "Dockerfile").write_text('FROM alien:1\nRUN ["/bin/sh"]\n')
    said = alien("build", "--platform", "linux/s390x", ".", check=False)
    assert said.code == 1
    assert "nacre: Dockerfile:2:1: this machine cannot run programs for linux/s390x\nhint: " in said.err
