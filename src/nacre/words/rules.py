"""What the operator of a registry decides."""

from __future__ import annotations

from .errors import UsageError
from .value import Value


class RegistryRules(Value):
    """What a registry does where the protocol leaves the choice.

    `sparse`: manifests are taken although content that they name is not there (part of the platforms of an
    index, say). `connections`: most of one address at a time; those that moved least give way. `children`:
    an index that is deleted takes those of its manifests that no tag and no other index names. `warning`:
    what clients should tell their users, "" for nothing.
    """

    sparse: bool = False
    connections: int = 256
    children: bool = False
    warning: str = ""

    def _check(self) -> None:
        if self.connections < 1:
            raise UsageError(f"an address must be allowed one connection at least, not {self.connections}")
