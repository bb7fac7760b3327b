"""Output of a container for the journal of this machine.

One datagram an entry: `NAME=value` lines, and a value that contains a newline as `NAME`, newline, its length
(64 bits, little endian), the value, newline. Fields as docker's journald driver has them. Source: systemd,
"Native Journal Protocol"; moby daemon/logger/journald.
"""

from __future__ import annotations

import os

from ...ground.monitor.logfile import Log
from ...words.errors import SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = {"stdout": "6", "stderr": "3"}
_OURS = ("", "MESSAGE", "PRIORITY")


class JournalWriter(Log):
    """Sends to the journal at `path`. `names` are those of the container, with its Tag.

    Raises SandboxError when there is no journal.
    """

    def __init__(self, names: Mapping[str, str], attributes: Mapping[str, str], path: str = SOCKET) -> None:
        from socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socket

        super().__init__()
        if not os.path.exists(path):
            raise SandboxError(
                "the log driver journald has no journal on this machine", hint=f"{path} is missing"
            )
        self._path, self._parts, self._ends = path, dict[str, tuple[str, int]](), False
        self._socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
        fields = {_field(name): value for name, value in attributes.items()} | {
            "CONTAINER_ID": names["ID"], "CONTAINER_ID_FULL": names["FullID"],
            "CONTAINER_NAME": names["Name"], "CONTAINER_TAG": names["Tag"],
            "IMAGE_NAME": names["ImageName"], "SYSLOG_IDENTIFIER": names["Tag"],
        }  # fmt: skip
        self._fields = {name: value for name, value in fields.items() if name not in _OURS}

    def append(self, stream: str, pieces: list[bytes]) -> None:  # noqa: D102
        for piece in pieces:
            whole = self._ends or piece.endswith(b"\n")
            fields = {"PRIORITY": _PRIORITIES[stream], **self._fields, **self._part(stream, last=whole)}
            entry = [_encoded(name, value.encode(errors="replace")) for name, value in fields.items()]
            self._send(_encoded("MESSAGE", piece.removesuffix(b"\n")) + b"".join(entry))

    def _part(self, stream: str, *, last: bool) -> dict[str, str]:
        """docker's, for a line in pieces: its id, the number of the piece, whether it is the last."""
        if last and stream not in self._parts:
            return {}
        name, count = self._parts.pop(stream, (os.urandom(32).hex(), 0))
        fields = {
            "CONTAINER_PARTIAL_ID": name, "CONTAINER_PARTIAL_ORDINAL": str(count + 1),
            "CONTAINER_PARTIAL_LAST": "true" if last else "false",
        }  # fmt: skip
        if last:
            return fields
        self._parts[stream] = (name, count + 1)
        return fields | {"CONTAINER_PARTIAL_MESSAGE": "true"}

    def _send(self, entry: bytes) -> None:
        """What a journal that restarts does not take is lost, as with docker; the container goes on."""
        try:
            self._socket.sendto(entry, self._path)
        except OSError:
            return

    def close(self) -> None:  # noqa: D102
        self._ends = True
        super().close()
        self._socket.close()


def _encoded(name: str, value: bytes) -> bytes:
    if b"\n" not in value:
        return name.encode() + b"=" + value + b"\n"
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def _field(name: str) -> str:
    """A name that the journal takes; what begins with an underscore is its own."""
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.upper())
    return cleaned.lstrip("_0123456789")[:64]
