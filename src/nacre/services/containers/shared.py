"""The network of a container of an ordinary user that is another container's: `--network container:NAME`.

Its namespace is the other's, whose keeper also answers what its programs ask of sockets. This process must be
in the user namespace of the other (`engine.userns`), or neither is permitted.
"""

from __future__ import annotations

import _socket
import os
from contextlib import ExitStack

from ...ground.files import unlink, write_atomic
from ...ground.network.descriptors import hand, received_all
from ...ground.network.serving import Serving
from ...stores.containers import NETWORK
from ...words.errors import SandboxError
from ...words.quickjson import dumps
from .launch import ProgramLaunch, without_network
from .networksocket import SOCKET, asked, listener, meet, unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from ...ground.sandbox import Attachment
    from ...stores.containers import ContainerRow
    from ...stores.store import Store


class SharedNetworking:
    """As `Networking`, for a container in the network of `other`, which runs and is switched."""

    def __init__(
        self, store: Store, row: ContainerRow, config: dict[str, Any], other: ContainerRow
    ) -> None:  # fmt: skip
        self._folder, self._state = store.containers.folder(row.id), store.containers.file(row.id, NETWORK)
        self._keeper = store.containers.folder(other.id)
        self.config = without_network(config)
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._begin()
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot join the network of the container: {error.strerror}") from None
        except BaseException:
            self.close()
            raise
        return self

    def _begin(self) -> None:
        channel = asked(self._keeper, {"switch": True})
        self._closing.callback(channel.close)
        self._launch = _launched(channel)
        self._closing.callback(self._launch.close)
        control = listener(self._folder)
        self._closing.callback(control.close)
        self._serving = Serving()
        self._closing.callback(self._serving.end)
        self._serving.watch(control.fileno(), lambda: meet(control, self._met))
        write_atomic(self._state, dumps({"switched": True, "ports": {}, "endpoints": {}}).encode())

    def before(self, attached: Attachment) -> Attachment:
        """As `Networking.before`, for one that never leaves."""
        return self._launch.before(attached.replace(leave=None), self._serving.begin)

    def _met(self, client: _socket.socket, request: dict[str, Any]) -> None:
        if "exec" in request:
            self._launch.further(client)

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """The other container keeps what it has. Idempotent."""
        self._closing.close()
        for name in (NETWORK, SOCKET):
            unlink(f"{self._folder}/{name}")


def _launched(channel: _socket.socket) -> ProgramLaunch:
    """For the network that the other's keeper gives. Raises OSError; SandboxError when it has ended."""
    kind, found = received_all(channel, 1, 1)
    if not found:
        raise unanswered()
    try:
        return ProgramLaunch(found[0], lambda fd: _give(channel, fd), kind)
    finally:
        os.close(found[0])


def _give(channel: _socket.socket, fd: int) -> None:
    """The listener goes to the keeper of the other container. Raises OSError."""
    try:
        hand(channel, fd)
    finally:
        os.close(fd)
