"""`network.sock`: how the process that keeps a container is asked about its networks.

A request is one line of JSON, and so is the answer, unless a descriptor is what was asked for.
"""

from __future__ import annotations

import _socket
import os

from ...ground.files import unlink
from ...words.errors import SandboxError
from ...words.quickjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "network.sock"
SECONDS = 10.0
_LONGEST = 1 << 16
_KIND = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC


def listener(folder: str) -> _socket.socket:
    """In the folder of a container, whose path may be longer than an address of a socket. Raises OSError."""
    unlink(f"{folder}/{SOCKET}")
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    socket = _socket.socket(_socket.AF_UNIX, _KIND | _socket.SOCK_NONBLOCK)
    try:
        socket.bind(f"/proc/self/fd/{fd}/{SOCKET}")
        socket.listen(128)
    except BaseException:
        socket.close()
        raise
    finally:
        os.close(fd)
    return socket


def adopted(fd: int) -> _socket.socket:
    """The listener that another program of this process has left."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)


def line(client: _socket.socket) -> bytes:
    """What was said. Raises OSError."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _LONGEST:
        piece = client.recv(_LONGEST)
        if not piece:
            break
        data += piece
    return data


def asked(folder: str, request: dict[str, Any]) -> _socket.socket:
    """A connection to the keeper of a container, which has been asked something. Raises OSError."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    socket = _socket.socket(_socket.AF_UNIX, _KIND)
    try:
        socket.settimeout(2 * SECONDS)
        socket.connect(f"/proc/self/fd/{fd}/{SOCKET}")
        socket.sendall(dumps(request).encode() + b"\n")
    except BaseException:
        socket.close()
        raise
    finally:
        os.close(fd)
    return socket


def tell(folder: str, request: dict[str, Any]) -> None:
    """Have the keeper of a container join or leave a network. Raises SandboxError."""
    try:
        socket = asked(folder, request)
        try:
            answer = loads(line(socket) or b"{}")
        finally:
            socket.close()
    except (OSError, ValueError):
        raise unanswered() from None
    if "error" in answer:
        raise SandboxError(answer["error"], hint=answer["hint"])


def unanswered() -> SandboxError:
    """Nobody is there, or does not do as told."""
    return SandboxError("the process that keeps the container does not answer")
