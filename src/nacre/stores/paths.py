"""The folders in ROOT that commands use without opening a store; each is made when something is put there.

ROOT/uploads/      how far uploads to registries have come
ROOT/mirrors/      what a mirror has put where
ROOT/manifests/    lists of manifests that are being put together
ROOT/seen/         where blobs were seen in registries
ROOT/registry/     the storage of `nacre registry serve`
"""

from __future__ import annotations

from ..words.value import Value

BESIDE = ("uploads", "mirrors", "manifests", "seen")
"""Names of those that may be in ROOT before there is a store."""

REGISTRY = "registry"


class Paths(Value):
    """Paths beneath the folder `root`, made or not."""

    root: str

    @property
    def uploads(self) -> str:
        """Records of uploads to registries that can be resumed."""
        return f"{self.root}/uploads"

    @property
    def mirrors(self) -> str:
        """What earlier runs of `mirror` have put into which repositories."""
        return f"{self.root}/mirrors"

    @property
    def manifests(self) -> str:
        """Manifest lists that were created and not pushed yet."""
        return f"{self.root}/manifests"

    @property
    def seen(self) -> str:
        """Which repositories of a registry had a blob."""
        return f"{self.root}/seen"

    @property
    def registry(self) -> str:
        """The default storage of the registry server: a blob store and a catalog of its own."""
        return f"{self.root}/{REGISTRY}"
