"""Those who have attached themselves to a container: they see what it writes, and may write to it.

    client   makes FIFOs beside the keeper's control: NAME.1 and NAME.2 for the outputs, NAME.0 for the input;
             opens the outputs to read, writes `attach:NAME` to the control
    keeper   opens them, removes their names, answers by the first byte in NAME.1, then passes bytes on

Whoever may open the folder of a container may attach, nobody else. The kernel tells the keeper when a client
is gone, whatever its end, and the client when the keeper is. A FIFO holds 64 KiB; when a client is behind by
more, the container waits for it, but not for one that takes nothing for some seconds: that one is let go.
"""

from __future__ import annotations

import os
import select
import sys

from .pause import beside, close, open_beside, remove

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .loop import Timer
    from .relay import Relay

PREFIX = "attached."
DROPPED = ".dropped"
"""The end of the name of a file that tells a client that it was let go."""
WITH_INPUT, WITHOUT_INPUT, NOTHING = b"+", b"-", b"!"
_STREAMS = ("stdout", "stderr")
_PATIENCE = 5.0
_TIOCSWINSZ = 0x5414
_MOST = 0xFFFF


class _Attached:
    """One of them. `outputs` are descriptors by the name of the stream, `waiting` what they did not take."""

    def __init__(self, path: str, outputs: dict[str, int]) -> None:
        self.path, self.outputs = path, outputs
        self.waiting = dict.fromkeys(outputs, b"")
        self.moved = True

    def write(self, stream: str, data: bytes) -> bool:
        """Pass on what is taken now; False when nobody reads any more."""
        fd = self.outputs.get(stream, -1)
        if fd < 0:
            return True
        data = self.waiting[stream] + data
        try:
            taken = os.write(fd, data) if data else 0
        except BlockingIOError:
            taken = 0
        except OSError:
            return False
        self.moved = self.moved or taken > 0
        self.waiting[stream] = data[taken:]
        return True

    @property
    def is_behind(self) -> bool:
        """Whether something waits for it."""
        return any(self.waiting.values())


class Clients:
    """The keeper's part, for one container."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._clients: list[_Attached] = []
        self._timer: Timer | None = None

    def begin(self, name: str) -> None:
        """Take in the client that has made the FIFOs `name`."""
        path = beside(self._relay.control, name, PREFIX)
        if not path:
            return
        found = [_taken(f"{path}.{number}", os.O_WRONLY) for number in (1, 2)]
        outputs = {stream: fd for stream, fd in zip(_STREAMS, found, strict=True) if fd >= 0}
        inward = _taken(f"{path}.0", os.O_RDONLY)
        if "stdout" in outputs:
            self._take(_Attached(path, outputs), inward)
        else:  # gone already
            close(*outputs.values(), inward)

    def _take(self, client: _Attached, inward: int) -> None:
        relay = self._relay
        answer = NOTHING if not relay.attachable else WITH_INPUT if relay.input >= 0 else WITHOUT_INPUT
        client.write("stdout", answer)
        if answer != WITH_INPUT or inward < 0:
            close(inward)
        else:
            relay.add_input(inward)
        if answer == NOTHING:
            close(*client.outputs.values())
            return
        self._clients.append(client)
        self._wait_for(client)
        for flow in relay.outputs:
            flow.copy = self.give

    def give(self, stream: str, data: bytes) -> None:
        """Pass on what the container wrote."""
        for client in list(self._clients):
            if not client.write(stream, data):
                self._end(client)
            elif client.is_behind:
                self._wait_for(client)

    @property
    def is_behind(self) -> bool:
        """Whether the container has to wait for somebody."""
        return any(client.is_behind for client in self._clients)

    def _wait_for(self, client: _Attached) -> None:
        loop = self._relay.loop
        for stream, fd in client.outputs.items():
            events = select.POLLOUT if client.waiting[stream] else 0
            loop.watch(fd, lambda stream=stream: self._step(client, stream), events)  # type: ignore[misc]
        if client.is_behind and self._timer is None:
            client.moved = False
            self._timer = loop.call_later(_PATIENCE, self._look)

    def _step(self, client: _Attached, stream: str) -> None:
        """A client can take more, or is gone."""
        fd = client.outputs[stream]
        if _is_gone(fd) or not client.write(stream, b""):
            self._end(client)
        else:
            self._wait_for(client)

    def _look(self) -> None:
        """Let those go that took nothing since the last look."""
        self._timer = None
        for client in list(self._clients):
            if client.is_behind and not client.moved:
                close(open_beside(client.path + DROPPED, os.O_WRONLY | os.O_CREAT))
                self._end(client)
            client.moved = False
        for client in self._clients:
            if client.is_behind:
                self._wait_for(client)

    def _end(self, client: _Attached) -> None:
        if client not in self._clients:
            return
        self._clients.remove(client)
        for fd in client.outputs.values():
            self._relay.loop.forget(fd)
            os.close(fd)
        if not self._clients:
            for flow in self._relay.outputs:
                flow.copy = None

    def close(self) -> None:
        """The container has ended, and nothing more comes: they get what waits for them."""
        while self.is_behind:
            self._relay.loop.wait({})
        for client in list(self._clients):
            self._end(client)


def resize(terminal: int, line: bytes) -> None:
    """`resize:ROWS:COLUMNS` for the terminal of a container."""
    import fcntl

    numbers = [int(word) for word in line.split(b":")[1:] if word.isdigit()]
    if len(numbers) == 2 and all(0 < number <= _MOST for number in numbers):
        size = b"".join(number.to_bytes(2, sys.byteorder) for number in (*numbers, 0, 0))
        fcntl.ioctl(terminal, _TIOCSWINSZ, size)


def _taken(path: str, how: int) -> int:
    """Its name goes as soon as it is open."""
    fd = open_beside(path, how)
    if fd >= 0:
        remove(path)
    return fd


def _is_gone(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))
