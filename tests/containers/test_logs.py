"""Logs: files that are full, what entries carry, the journal, and reading while others write."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nacre.ground.monitor.logfile import MAX_LINE, LogWriter
from nacre.ground.monitor.rotation import Rotation, numbers
from nacre.services.containers.journal import JournalWriter
from nacre.services.containers.logfiles import read_log
from nacre.words.errors import SandboxError

if TYPE_CHECKING:
    from conftest import Nacre

ENTRY = 100
"""About the bytes of an entry with a short text."""


def rotated(path: Path, size: int, count: int, *, compress: bool = False) -> LogWriter:
    return LogWriter(str(path), Rotation(str(path), size, count, compress=compress))


def texts(path: Path, tail: int = -1) -> list[str]:
    return [line.text.strip() for line in read_log(str(path), tail=tail)]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_files_are_limited_and_read_in_order(tmp_path: Path, count: int, compress: bool) -> None:
    path = tmp_path / "log"
    log = rotated(path, 3 * ENTRY, count, compress=compress)
    for number in range(100):
        log.write("stdout", f"{number}\n".encode())
        found = texts(path)
        assert found == [str(n) for n in range(int(found[0]), number + 1)]
        assert len(found) <= 6 * count
    log.close()
    suffix = ".gz" if compress else ""
    files = sorted(os.listdir(tmp_path))
    assert len(files) == count
    assert all(name == "log" or name.endswith(suffix) for name in files)
    assert texts(path, 2) == ["98", "99"]
    assert texts(path, 0) == []


def test_a_log_that_fits_is_never_rotated(tmp_path: Path) -> None:
    log = rotated(tmp_path / "log", 1 << 20, 5)
    log.write("stdout", b"a\nb\n" + b"x" * MAX_LINE + b"\n")
    log.close()
    assert os.listdir(tmp_path) == ["log"]
    assert os.stat(tmp_path / "log").st_mode & 0o777 == 0o600


def full(path: Path, *numbers: int) -> None:
    for number in numbers:
        log = LogWriter(f"{path}.{number}")
        log.write("stdout", f"{number}\n".encode())
        log.close()


def packed(path: Path, number: int) -> None:
    Path(f"{path}.{number}.gz").write_bytes(gzip.compress(Path(f"{path}.{number}").read_bytes()))


def test_what_a_killed_writer_leaves(tmp_path: Path) -> None:
    """Each state that a kill between two system calls leaves is read whole, and goes on."""
    path = tmp_path / "log"
    full(path, 4, 5)  # renamed, none opened yet, nothing dropped
    assert texts(path) == ["4", "5"]
    packed(path, 5)  # compressed, the plain one not removed
    (tmp_path / "log.new").write_bytes(b"half")
    assert texts(path) == ["4", "5"]
    log = rotated(path, 1, 3, compress=True)
    assert sorted(os.listdir(tmp_path)) == ["log", "log.4.gz", "log.5.gz"]
    log.write("stdout", b"6\n7\n")
    log.close()
    assert texts(path) == ["5", "6", "7"]
    assert list(numbers(str(path))) == [5, 6]


def test_a_damaged_file_costs_its_own_entries(tmp_path: Path) -> None:
    path = tmp_path / "log"
    full(path, 1, 2, 3)
    for number in (1, 2):
        packed(path, number)
        os.unlink(f"{path}.{number}")
    whole = Path(f"{path}.1.gz").read_bytes()
    Path(f"{path}.1.gz").write_bytes(whole[:20])
    Path(f"{path}.2.gz").write_bytes(b"nothing of this kind")
    (tmp_path / "log.x").write_bytes(b"not ours")
    assert texts(path) == ["3"]


def test_following_misses_nothing(tmp_path: Path) -> None:
    """A reader that follows a log while it is rotated gets each entry once, in order."""
    path, last = tmp_path / "log", 2000
    log = rotated(path, 40 * ENTRY, 1000, compress=True)
    writing = threading.Event()

    def write() -> None:
        for number in range(last):
            log.write("stdout", f"{number}\n".encode())
        log.close()
        writing.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = [int(line.text) for line in read_log(str(path), follow=lambda: not writing.is_set())]
    writer.join()
    assert found == list(range(last))


def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    """What does not fit is lost; the entries after it are read again."""
    path = tmp_path / "log"
    log = LogWriter(str(path))
    log.write("stdout", b"one\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, before[1]))
    try:
        log.write("stdout", b"lost\n")
        log.write("stdout", b"lost\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.write("stdout", b"two\nthree\n")
    log.close()
    assert texts(path) == ["one", "two", "three"]
    full = LogWriter("/dev/full")
    full.write("stdout", b"lost\n")
    full.close()


def test_attributes(tmp_path: Path) -> None:
    log = LogWriter(str(tmp_path / "log"), None, {"b": '"2"', "a": "1"})
    log.write("stderr", b"x\n")
    log.close()
    (line,) = read_log(str(tmp_path / "log"))
    assert (line.stream, line.text, line.attributes) == ("stderr", "x\n", (("a", "1"), ("b", '"2"')))


# the journal

NAMES = {"ID": "0123", "FullID": "0123456", "Name": "box", "ImageName": "app", "Tag": "two\nlines"}


def fields(entry: bytes) -> dict[str, str]:
    """A datagram of the journal's protocol."""
    found = {}
    while entry:
        name, _, rest = entry.partition(b"\n")
        key, equals, value = name.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        found[key.decode()] = value.decode()
        entry = rest
    return found


def test_the_journal(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        log = JournalWriter(NAMES, {"com.a-b": "1", "_pid": "2", "MESSAGE": "3", "9": "4"}, path)
        log.write("stdout", b"one\n" + b"x" * MAX_LINE)
        log.write("stderr", b"error\n")
        log.write("stdout", b"y\nend")
        log.close()
        journal.setblocking(False)
        entries = [fields(journal.recv(1 << 20)) for _ in range(5)]
        with pytest.raises(BlockingIOError):
            journal.recv(1)
    one, *_ = entries
    assert one == {
        "MESSAGE": "one", "PRIORITY": "6", "COM_A_B": "1", "PID": "2", "CONTAINER_ID": "0123",
        "CONTAINER_ID_FULL": "0123456", "CONTAINER_NAME": "box", "CONTAINER_TAG": "two\nlines",
        "IMAGE_NAME": "app", "SYSLOG_IDENTIFIER": "two\nlines",
    }  # fmt: skip
    assert [(entry["MESSAGE"][:5], entry["PRIORITY"]) for entry in entries[1:]] == [
        ("xxxxx", "6"), ("error", "3"), ("y", "6"), ("end", "6"),
    ]  # fmt: skip
    first, second = entries[1], entries[3]
    assert first["CONTAINER_PARTIAL_ID"] == second["CONTAINER_PARTIAL_ID"]
    assert (first["CONTAINER_PARTIAL_LAST"], first["CONTAINER_PARTIAL_MESSAGE"]) == ("false", "true")
    assert (second["CONTAINER_PARTIAL_LAST"], second["CONTAINER_PARTIAL_ORDINAL"]) == ("true", "2")
    assert "CONTAINER_PARTIAL_ID" not in entries[4]


def test_a_journal_that_goes_away_stops_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(SandboxError, match="the log driver journald has no journal on this machine"):
        JournalWriter(NAMES, {}, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        log = JournalWriter(NAMES, {}, path)
    log.write("stdout", b"lost\n")
    os.unlink(path)
    log.write("stdout", b"lost\n")
    log.close()
    log.close()


# containers


def test_a_container_with_a_limited_log(nacre: Nacre, busybox_image: str) -> None:
    words = ["--log-opt", "max-size=2k", "--log-opt", "max-file=3", "--log-opt", "compress=true"]
    more = ["--log-opt", "tag={{.Name}}", "--log-opt", "labels=a", "-l", "a=1 b"]
    code = ["sh", "-c", "for n in $(seq 200); do echo line $n; done"]
    nacre("run", "-d", "--name", "box", *words, *more, busybox_image, *code)
    nacre("wait", "box")
    (document,) = nacre("inspect", "box").json
    assert document["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {
            "max-size": "2k", "max-file": "3", "compress": "true", "tag": "{{.Name}}", "labels": "a",
        },
    }  # fmt: skip
    folder = Path(document["LogPath"]).parent
    files = sorted(name for name in os.listdir(folder) if name.startswith("log"))
    assert [name.rpartition(".")[2] for name in files] == ["log", "gz", "gz"]
    shown = nacre("logs", "box").lines
    assert shown == [f"line {n}" for n in range(201 - len(shown), 201)]
    assert 20 < len(shown) < 100
    assert nacre("logs", "--tail", str(len(shown) - 1), "box").lines == shown[1:]
    assert nacre("logs", "-f", "-n", "1", "--details", "box").out == "a=1+b,tag=box line 200\n"
    stamped = nacre("logs", "-t", "box").lines
    since = stamped[5].split(" ")[0]
    same = [line.split(" ", 1)[1] for line in stamped if line.startswith(since)]
    assert nacre("logs", "--since", since, "--until", since, "box").lines == same
    assert nacre("logs", "--until", "2020-01-01T00:00:00.5Z", "box").out == ""
    nacre("start", "-a", "box")
    assert nacre("logs", "--tail", "1", "box").out == "line 200\n"
    assert len([name for name in os.listdir(folder) if name.startswith("log")]) == 3


def test_drivers_by_name(nacre: Nacre, busybox_image: str) -> None:
    nacre("run", "--name", "two", "--log-driver", "local", busybox_image, "echo", "x")
    assert nacre("logs", "--details", "two").out == " x\n"
    (document,) = nacre("inspect", "two").json
    assert document["HostConfig"]["LogConfig"] == {"Type": "local", "Config": {}}
    nacre("create", "--name", "three", "--log-driver", "journald", busybox_image, "echo", "x")
    done = nacre("logs", "three", check=False)
    assert (done.code, done.err.splitlines()[0]) == (
        1,
        "nacre: configured logging driver does not support reading",
    )
    assert "journalctl CONTAINER_ID_FULL=" in done.err
    assert json.loads(nacre("inspect", "-f", "{{json .LogPath}}", "three").out) == ""
    done = nacre("logs", "--tail", "x", "two", check=False)
    assert (done.code, done.err) == (1, "nacre: invalid number of lines: 'x'\n")
