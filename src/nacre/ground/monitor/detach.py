"""The keys by which a user leaves a container alone: ctrl-P ctrl-Q, or others.

Keys that may begin the sequence wait for the next one, and are passed on when that is another. Source: moby
term/proxy.go.
"""

from __future__ import annotations

import os

from .relay import Flow

_CHUNK = 65536


class DetachKeys:
    """Finds the sequence `keys` in what is typed."""

    def __init__(self, keys: bytes) -> None:
        self._keys, self._seen = keys, 0
        self.found = False

    def passed(self, data: bytes) -> bytes:
        """What is to be passed on of `data`; nothing after the sequence, of which `found` tells."""
        out = bytearray()
        for letter in data:
            if letter != self._keys[self._seen]:
                out += self._keys[: self._seen]
                self._seen = 0
            if letter == self._keys[self._seen]:
                self._seen += 1
            else:
                out.append(letter)
            if self._seen == len(self._keys):
                self.found = True
                break
        return bytes(out)


class KeyedFlow(Flow):
    """What a user types, until the keys come; then `on_detach` is called once, and the flow is over."""

    def __init__(self, source: int, target: int, keys: bytes) -> None:
        super().__init__(source, target=target)
        self._keys = DetachKeys(keys)

    @property
    def detached(self) -> bool:
        """Whether the keys were typed."""
        return self._keys.found

    def step(self) -> bool:  # noqa: D102
        if self.waiting:
            return self._pass(self.waiting) and not (self.detached and not self.waiting)
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        passed = self._keys.passed(data)
        if not data or (passed and not self._pass(passed)):
            return False
        return not self.detached or bool(self.waiting)
