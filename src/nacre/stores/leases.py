"""What running work needs is not garbage.

A lease is a file that its holder keeps locked; the kernel lets go of it when the holder dies, in any
pid namespace. Content that was made or looked up since the oldest living lease began is never swept.
Work that makes content without holding a lease gets one for as long as its `Store` is open.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Lease:
    """Held until `close`, the end of the `with` block, or the death of the process."""

    def add(self, kind: str, key: str) -> None:
        """Keep `kind` ('blob', 'tree' by digest, 'active', 'container' by key) by name as well."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class LeaseStore:
    """The leases of one store."""

    def hold(self) -> Lease:
        """Begin a lease: everything this `Store` adds or finds (`has`) from now on is kept until it ends."""
        raise NotImplementedError
