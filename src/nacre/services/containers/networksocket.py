"""`network.sock`: how the process that keeps a container is asked about its networks.

A request is one line of JSON, and so is the answer, unless a descriptor is what was asked for.
"""

from __future__ import annotations

import _socket
import os

from ...ground.files import unlink
from ...ground.network.serving import accepted
from ...words.errors import SandboxError
from ...words.quickjson import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SOCKET = "network.sock"
_SECONDS = 10.0
_LONGEST = 1 << 16
_KIND = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC


def listener(folder: str) -> _socket.socket:
    """In the folder of a container. Raises OSError."""
    unlink(f"{folder}/{SOCKET}")

    def listen(socket: _socket.socket, address: str) -> None:
        socket.bind(address)
        socket.listen(128)

    return _opened(folder, _KIND | _socket.SOCK_NONBLOCK, listen)


def _opened(folder: str, kind: int, use: Callable[[_socket.socket, str], object]) -> _socket.socket:
    """A socket, used with its address: the path of the folder itself may be too long to be one."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        socket = _socket.socket(_socket.AF_UNIX, kind)
        try:
            use(socket, f"/proc/self/fd/{fd}/{SOCKET}")
        except BaseException:
            socket.close()
            raise
        return socket
    finally:
        os.close(fd)


def adopted(fd: int) -> _socket.socket:
    """The socket that a descriptor is, which belongs to it then."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)


def meet(control: _socket.socket, answer: Callable[[_socket.socket, dict[str, Any]], object]) -> None:
    """Hear what the next who comes asks for. Raises OSError, ValueError."""
    client = accepted(control)
    try:
        client.settimeout(_SECONDS)
        answer(client, loads(_line(client)))
    finally:
        client.close()


def _line(client: _socket.socket) -> bytes:
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

    def ask(socket: _socket.socket, address: str) -> None:
        socket.settimeout(2 * _SECONDS)
        socket.connect(address)
        socket.sendall(dumps(request).encode() + b"\n")

    return _opened(folder, _KIND, ask)


def tell(folder: str, request: dict[str, Any]) -> None:
    """Have the keeper of a container join or leave a network. Raises SandboxError."""
    try:
        socket = asked(folder, request)
        try:
            answer = loads(_line(socket) or b"{}")
        finally:
            socket.close()
    except (OSError, ValueError):
        raise unanswered() from None
    if "error" in answer:
        raise SandboxError(answer["error"], hint=answer["hint"])


def unanswered() -> SandboxError:
    """Nobody is there, or does not do as told."""
    return SandboxError("the process that keeps the container does not answer")


def channel(folder: str) -> _socket.socket:
    """By which one more program of a running container is begun. Raises SandboxError."""
    try:
        connection = asked(folder, {"exec": True})
        connection.setblocking(True)
        return connection
    except OSError:
        raise unanswered() from None
