"""D-Bus by a client of our own: against dbus-daemon, and a systemd that is made up."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.ground.limits import scope
from nacre.ground.limits.dbus import BUS, Bus, BusError, decode, encode, message_length, types_of
from nacre.words.errors import SandboxError

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""
CALL, REPLY, ERROR, SIGNAL = 1, 2, 3, 4
SYSTEMD = "org.freedesktop.systemd1"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """The socket of a private bus."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed")
    path = tmp_path / "bus"
    (tmp_path / "conf").write_text(CONFIG.format(path=path))
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={tmp_path}/conf", "--nofork", "--print-address=1"],
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout
    daemon.stdout.readline()  # it listens now
    yield str(path)
    daemon.kill()
    daemon.communicate()


class FakeSystemd(threading.Thread):
    """Owns systemd's name on a bus and ends every job with `result`; `asked` is what it was told."""

    def __init__(self, path: str, result: str = "done") -> None:
        super().__init__(daemon=True)
        self.result, self._serial = result, 0
        self.asked: list[tuple[Any, ...]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb")
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        assert self._file.readline().startswith(b"OK ")
        self._socket.sendall(b"BEGIN\r\n")
        self._call("Hello")
        self._call("RequestName", "su", SYSTEMD, 0)
        self.start()

    def __enter__(self) -> FakeSystemd:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self._file.close()
        self._socket.close()

    def _send(self, kind: int, fields: dict[int, Any], signature: str = "", *values: Any) -> None:
        self._serial += 1
        head = fields | ({8: signature} if signature else {})
        self._socket.sendall(encode(kind, self._serial, head, signature, values))

    def _call(self, member: str, signature: str = "", *values: Any) -> None:
        name, path, interface = BUS
        self._send(CALL, {1: path, 2: interface, 3: member, 6: name}, signature, *values)
        while self._next().kind != REPLY:
            pass

    def _next(self) -> Any:
        head = self._file.read(16)
        if len(head) < 16:
            raise EOFError
        return decode(head + self._file.read(message_length(head) - 16))

    def run(self) -> None:
        try:
            while True:
                message = self._next()
                if message.kind == CALL:
                    self._answer(message)
        except (EOFError, OSError, ValueError):
            return

    def _answer(self, message: Any) -> None:
        member, sender, unit = message.fields[3], message.fields[7], (*message.values, "")[0]
        self.asked.append((member, *message.values))
        back = {5: message.serial, 6: sender}
        if member == "StartTransientUnit":
            others = {1: "/org/freedesktop/systemd1", 2: f"{SYSTEMD}.Manager", 3: "JobRemoved"}
            self._send(SIGNAL, others, "uoss", 6, "/job/6", "other.service", "failed")
            self._send(SIGNAL, others, "uoss", 7, "/job/7", message.values[0], self.result)
            self._send(REPLY, back, "o", "/job/7")
        elif member == "AttachProcessesToUnit" and not unit.startswith("nacre"):
            self._send(ERROR, back | {4: f"{SYSTEMD}.NoSuchUnit"}, "s", f"Unit {unit} not loaded.")
        else:
            self._send(REPLY, back)


def test_a_scope_is_made(bus: str) -> None:
    with FakeSystemd(bus) as systemd:
        name = scope.enter("big.slice", bus)
    assert name.startswith("nacre-")
    assert name.endswith(".scope")
    (subscribed,), (member, unit, mode, properties, aux) = systemd.asked
    assert (subscribed, member, unit, mode, aux) == ("Subscribe", "StartTransientUnit", name, "fail", [])
    assert dict(properties) == {
        "Description": ("s", "A container of nacre"), "PIDs": ("au", [os.getpid()]), "Delegate": ("b", 1),
        "CollectMode": ("s", "inactive-or-failed"), "Slice": ("s", "big.slice"),
    }  # fmt: skip


def test_a_scope_that_fails(bus: str) -> None:
    said = "systemd makes no scope for the container: the job ended with 'failed'"
    with FakeSystemd(bus, "failed"), pytest.raises(SandboxError, match=said):
        scope.enter("", bus)


def test_nobody_has_the_name(bus: str) -> None:
    with pytest.raises(SandboxError, match=r"for the container: The name \S+ was not provided"):
        scope.enter("", bus)


def test_a_process_is_attached(bus: str) -> None:
    with FakeSystemd(bus) as systemd:
        scope.attach("nacre-1.scope", 42, "nacre.x", bus)
        assert systemd.asked == [("AttachProcessesToUnit", "nacre-1.scope", "/nacre.x", [42])]
        with pytest.raises(SandboxError, match=r"into gone.scope: Unit gone.scope not loaded."):
            scope.attach("gone.scope", 42, "nacre.x", bus)


def test_the_bus_itself_answers(bus: str) -> None:
    with Bus(bus, os.getuid()) as connection:
        (names,) = connection.call(*BUS, "ListNames")
        assert "org.freedesktop.DBus" in names
        with pytest.raises(BusError, match="Could not get owner"):
            connection.call(*BUS, "GetNameOwner", "s", "no.such.name")


def test_another_user_is_refused(bus: str) -> None:
    with pytest.raises(BusError, match=f"the bus refuses user {os.getuid() + 1}"):
        Bus(bus, os.getuid() + 1)


def test_no_bus(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="systemd makes no scope for the container"):
        scope.enter("", f"{tmp_path}/none")


# the format

EVERYTHING = "ybnqiuxtdsogva{sv}a(sa(sv))(yx)aas"
VALUES = (
    1, 1, -2, 3, -4, 5, -6, 7, 1.5, "ü", "/a", "as", ("t", 8), [("a", ("s", "b"))],
    [("c", [("d", ("au", [1, 2]))])], (9, -10), [["e"], []],
)  # fmt: skip


def test_every_type_comes_back() -> None:
    data = encode(SIGNAL, 3, {8: EVERYTHING, 1: "/p"}, EVERYTHING, VALUES)
    assert message_length(data) == len(data)
    message = decode(data)
    assert (message.kind, message.serial, message.fields[1], message.values) == (SIGNAL, 3, "/p", VALUES)


@pytest.mark.parametrize("text", ["a", "(", "(i", "{s", "a" * 99, "(" * 99])
def test_bad_signatures(text: str) -> None:
    with pytest.raises(ValueError, match="bad signature"):
        types_of(text)


GOOD = encode(SIGNAL, 3, {8: EVERYTHING, 1: "/p"}, EVERYTHING, VALUES)


@given(st.binary(max_size=80) | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=8)))
def test_nonsense_is_refused(given: bytes | tuple[int, bytes]) -> None:
    if isinstance(given, tuple):
        at, new = given
        given = GOOD[:at] + new + GOOD[at + len(new) :]
    with contextlib.suppress(BusError):
        decode(given.ljust(16, b"\0"))
