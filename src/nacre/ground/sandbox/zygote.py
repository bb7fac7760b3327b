"""The zygote of a container once more, after it has waited for a request as less: see `switched`."""

from __future__ import annotations

import _socket

from . import join, switched


def resume(fd: int) -> None:
    """Begin what is asked for by this descriptor."""
    switched.wait(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd), join.serve)
