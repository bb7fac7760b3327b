"""Whom a container knows by name: those in the same networks."""

from __future__ import annotations

from ...ground.network.resolver import Known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...stores.networks import Networks


class NetworkMembers(Known):
    """Names of the containers in the networks that `where()` names."""

    def __init__(self, networks: Networks, where: Callable[[], list[str]]) -> None:
        self._networks, self._where = networks, where

    def addresses(self, name: str) -> list[str] | None:  # noqa: D102
        where = self._where()
        found = self._networks.named(where, name)
        if not found:  # the name with that of a network, as docker knows it too
            bare, _, network = name.rpartition(".")
            found = self._networks.named([network], bare) if bare and network in where else []
        both = [a for member in found for a in (member.address, member.address6) if a]
        return both if found else None

    def name(self, address: str) -> str:  # noqa: D102
        return self._networks.at(self._where(), address)
