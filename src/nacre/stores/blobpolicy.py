"""The policy that says whether a pulled layer also stays in its compressed form, beside its tree.

    keep   yes: a push finds it, and other tools find it in the OCI layout
    drop   no: a push takes it from where it lies, or from where it came
    auto   yes, while the file system of the store has room: a fifth of it, and 10 GiB

What nacre compressed itself, and a layer that came as a plain tar, can be made again of its tree and is
kept under no policy, unless the tree cannot give its tar.
"""

from __future__ import annotations

import os

from ..ground.files import os_errors
from ..words.errors import UsageError

POLICIES = ("auto", "keep", "drop")
MIN_FREE = 10 << 30
"""Bytes that must be free for `auto` to keep."""
MIN_SHARE = 0.2
"""Part of the file system that must be free for `auto` to keep."""


class BlobPolicy:
    """The policy of one store that is open."""

    def __init__(self, root: str, policy: str) -> None:
        """Raises UsageError for an unknown policy."""
        if policy not in POLICIES:
            raise UsageError(
                f"unknown policy for the blobs of layers {policy!r}", hint=f"use one of {', '.join(POLICIES)}"
            )
        self._root, self.policy = root, policy

    @property
    def keeps(self) -> bool:
        """Whether compressed layers that were pulled stay. Raises StoreError."""
        return self.policy == "keep" or (self.policy == "auto" and self._is_roomy())

    @property
    def why(self) -> str:
        """One phrase for `nacre info`: `auto: kept, 120 GB (48%) of the file system are free`."""
        verdict = "kept" if self.keeps else "dropped"
        if self.policy != "auto":
            return f"{self.policy}: {verdict}, as requested"
        free, total = self._space()
        share = 100 * free // max(1, total)
        return f"auto: {verdict}, {free / 1e9:.1f} GB ({share}%) of the file system are free"

    def _is_roomy(self) -> bool:
        free, total = self._space()
        return free >= MIN_FREE and free >= MIN_SHARE * total

    def _space(self) -> tuple[int, int]:
        """Bytes that are free for this user, and in all."""
        with os_errors(f"look at the file system of {self._root}"):
            found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
