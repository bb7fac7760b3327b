"""How the programs of a container whose sockets are switched begin: by a channel, and later by its zygote."""

from __future__ import annotations

import _socket

from ...ground.network.descriptors import hand, received
from ...ground.sandbox import join
from ...ground.sandbox.switched import Zygote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...ground.sandbox import Attachment

_KIND = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC


class ProgramLaunch:
    """For one container in a network namespace; `take` gets the listener of its system calls."""

    def __init__(self, namespace: int, take: Callable[[int], object]) -> None:
        self._take = take
        self._zygote: Zygote | None = None
        self._ours, self._theirs = _socket.socketpair(_socket.AF_UNIX, _KIND)
        hand(self._ours, namespace)

    def before(self, attached: Attachment, serve: Callable[[], object]) -> Attachment:
        """With what the first program needs. Its set-up is filtered as well: `serve()` comes before."""
        started = attached.on_start

        def forked(pid: int) -> None:
            for fd in received(self._ours):
                self._take(fd)
            self._zygote = Zygote(self._ours)
            self._theirs.close()
            if started:
                started(pid)
            serve()

        return attached.replace(channel=self._theirs.fileno(), further=join.serve, on_start=forked)

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


def without_network(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a container whose namespace comes by the channel."""
    system = config["linux"]
    kinds = [each for each in system["namespaces"] if each["type"] != "network"]
    return {**config, "linux": {**system, "namespaces": kinds}}
