"""RUN --mount=type=ssh: the user's SSH agent as a socket in the container.

    ssh in the container ──▶ socket in a scratch folder, with owner and mode of the mount ──▶ relay ──▶ agent

A relay, since an agent's own socket is for its user alone and its owner must not be changed: agents refuse
other users also by the credentials of a connection. It is a process that lives as long as the step.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from ...ground import ids, userns
from ...ground.files import os_errors
from ...ground.fork import fork
from ...images.model.runtime import VolumeMount
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from selectors import BaseSelector

    from ...grammars.dockerfile.mounts import RunMount
    from ...ground.fork import Child

_FOLDER = "/run/buildkit"
_CHUNK = 1 << 16
_WAITING = 16


class AgentMount(Value):
    """A mount of the agent at the socket `agent`; `number` counts those of one step."""

    mount: RunMount
    agent: str
    number: int

    @property
    def target(self) -> str:
        """Where the container finds it."""
        return self.mount.target or f"{_FOLDER}/ssh_agent.{self.number}"


class AgentRelay:
    """Passes connections on to an agent, from a socket in `folder`. `release` it."""

    def __init__(self, wanted: AgentMount, folder: str) -> None:
        """It listens at once. Raises StoreError, SandboxError."""
        self._child: Child | None = None
        self.path = f"{folder}/agent-{wanted.number}"
        with os_errors(f"listen in {folder}"), socket.socket(socket.AF_UNIX) as listener:
            _bind(listener, folder, os.path.basename(self.path))
            listener.listen(_WAITING)
            _give(self.path, wanted.mount)
            self._child = fork(
                lambda _: _serve(listener, wanted.agent), what="the relay to the SSH agent",
                keep=(listener.fileno(),),
            )  # fmt: skip
        self.volume = VolumeMount(self.path, wanted.target, False, "lend")

    def release(self) -> None:
        """End the process and its connections. Idempotent."""
        if self._child is not None:
            self._child.end()
            self._child.close()
            self._child = None


def _bind(listener: socket.socket, folder: str, name: str) -> None:
    """By the descriptor of the folder: a socket's whole path may have 107 bytes only."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)


def _give(path: str, mount: RunMount) -> None:
    os.chmod(path, 0o600 if mount.mode < 0 else mount.mode)
    if (mount.uid > 0 or mount.gid > 0) and not userns.current().single:
        ids.chown(path, max(mount.uid, 0), max(mount.gid, 0))


def _serve(listener: socket.socket, agent: str) -> None:
    from selectors import EVENT_READ, DefaultSelector

    with DefaultSelector() as selector:
        selector.register(listener, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    _connect(selector, listener.accept()[0], agent)
                else:
                    _pass_on(selector, *key.data)


def _connect(selector: BaseSelector, asker: socket.socket, agent: str) -> None:
    from selectors import EVENT_READ

    answerer = socket.socket(socket.AF_UNIX)
    try:
        answerer.connect(agent)
    except OSError:  # the agent has ended: ssh says that it cannot communicate with it
        asker.close()
        answerer.close()
        return
    selector.register(asker, EVENT_READ, (asker, answerer))
    selector.register(answerer, EVENT_READ, (answerer, asker))


def _pass_on(selector: BaseSelector, source: socket.socket, target: socket.socket) -> None:
    """What came, or the end of both."""
    if source.fileno() < 0:  # ended by its pair in this very round
        return
    with suppress(OSError):  # the other side is gone: that ends the pair as well
        data = source.recv(_CHUNK)
        if data:
            target.sendall(data)
            return
    for one in (source, target):
        selector.unregister(one)
        one.close()
