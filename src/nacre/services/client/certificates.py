"""Certificates where docker and podman keep them: in a folder for each registry.

HOST[:PORT]/*.crt              authorities
HOST[:PORT]/*.cert, *.key      this side's
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .transport import Special

_MAX_FILES = 100


class Certificates:
    """What the folders `certs.d` in `folders` have; each is looked at once for each host."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self._known: dict[str, Special] = {}

    def of(self, host: str) -> Special:
        """What there is for `host[:port]`: the first folder that has anything."""
        if host not in self._known:
            found = (certificates_in(f"{folder}/{host}") for folder in self._folders if "/" not in host)
            self._known[host] = next((special for special in found if special is not None), Special())
        return self._known[host]


def certificates_in(folder: str) -> Special | None:
    """What a folder of certificates has; None if it has nothing."""
    try:
        names = sorted(os.listdir(folder))[:_MAX_FILES]
    except OSError:
        return None
    authorities = tuple(f"{folder}/{name}" for name in names if name.endswith(".crt"))
    certs = [name for name in names if name.endswith(".cert")]
    pairs = tuple((f"{folder}/{name}", f"{folder}/{name.removesuffix('.cert')}.key") for name in certs)
    return Special(authorities, pairs) if names else None
