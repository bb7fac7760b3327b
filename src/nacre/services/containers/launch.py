"""How the programs of a container whose sockets are switched begin: by a channel, and later by its zygote."""

from __future__ import annotations

import _socket

from ...ground.network.descriptors import hand_all, received
from ...ground.sandbox.switched import PLAIN, Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ...ground.sandbox import Attachment

_KIND = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC


class ProgramLaunch:
    """For one container in a network namespace; `take` gets the listener of its system calls."""

    def __init__(self, namespace: int, take: Callable[[int], object], kind: bytes = PLAIN) -> None:
        """`kind` is PLAIN or PUBLISHED."""
        self._take = take
        self._zygote: Zygote | None = None
        self._ours, self._theirs = _socket.socketpair(_socket.AF_UNIX, _KIND)
        hand_all(self._ours, kind, (namespace,))

    @classmethod
    def adopt(cls, pid: int, requests: int, take: Callable[[int], object]) -> Self:
        """What `held` says, in another program of this process: its container runs."""
        self = cls.__new__(cls)
        self._take, self._zygote = take, Zygote(pid, requests)
        self._ours = self._theirs = _socket.socket(_socket.AF_UNIX, _KIND)
        return self

    @property
    def held(self) -> tuple[int, int]:
        """The pid of the zygote of a container that runs, and the descriptor by which it is asked."""
        return self._zygote.held if self._zygote else (-1, -1)

    def before(self, attached: Attachment, serve: Callable[[], object]) -> Attachment:
        """With what the first program needs. Its set-up is filtered as well: `serve()` comes before."""
        started = attached.on_start

        def forked(pid: int) -> None:
            for fd in received(self._ours):
                self._take(fd)
            self._zygote = Zygote.received(self._ours)
            self._theirs.close()
            if started:
                started(pid)
            serve()

        return attached.replace(channel=self._theirs.fileno(), further=_further, on_start=forked)

    def further(self, client: _socket.socket) -> None:
        """Whoever is at the other end wants one more program."""
        if self._zygote:
            self._zygote.pass_on(client)

    def close(self) -> None:
        """The container has ended. Idempotent."""
        self._ours.close()
        self._theirs.close()
        if self._zygote:
            self._zygote.close()


def _further(connection: int) -> None:
    """In a process that was forked for it."""
    from ...ground.sandbox import zygote

    zygote.serve(connection)


def without_network(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a container whose namespace comes by the channel."""
    system = config["linux"]
    kinds = [each for each in system["namespaces"] if each["type"] != "network"]
    return {**config, "linux": {**system, "namespaces": kinds}}
