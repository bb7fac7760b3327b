"""What a process may do with TCP by itself, whatever else lets it. Source: landlock(7)."""

from __future__ import annotations

import os
from struct import Struct

from .. import linux

_RULESET = Struct("=QQ")
_BIND_TCP, _CONNECT_TCP = 1, 2
_VERSION, _NETWORK = 1, 4
"""Flag that asks for the version of the kernel's, and the one that knows of TCP (Linux 6.7)."""


def knows_tcp() -> bool:
    """Whether this kernel can forbid it."""
    try:
        return linux.landlock_create_ruleset(b"", _VERSION) >= _NETWORK
    except OSError:  # not in this kernel, or turned off
        return False


def forbid_tcp() -> None:
    """This process, and all that it starts, can bind and connect no TCP socket; nothing before Linux 6.7.

    Needs CAP_SYS_ADMIN in the user namespace, or no new privileges. Raises OSError.
    """
    if not knows_tcp():
        return
    rules = linux.landlock_create_ruleset(_RULESET.pack(0, _BIND_TCP | _CONNECT_TCP), 0)
    try:
        linux.landlock_restrict_self(rules)
    finally:
        os.close(rules)
