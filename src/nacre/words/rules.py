"""What the operator of a registry decides."""

from __future__ import annotations

from .value import Value


class RegistryRules(Value):
    """What a registry does where the protocol leaves the choice.

    `sparse`: manifests are taken although content that they name is not there (part of the platforms of an
    index, say). `connections`: most of one address at a time; those that moved least give way.
    """

    sparse: bool = False
    connections: int = 256
