"""What a container is to be in a network, and what it has become there."""

from __future__ import annotations

from ...words.addresses import Subnet
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Wanted(Value):
    """How a container is to be in a network.

    `subnet` with its `gateway`, which is this machine; `addresses` are tried in order. The same with 6, if
    the network has IPv6. `group` is the number of the network. `mac` is of the link inside.
    `mtu` 0 is the usual.
    """

    network: str
    group: int
    subnet: Subnet
    gateway: str
    addresses: Iterable[str]
    subnet6: Subnet | None = None
    gateway6: str = ""
    addresses6: Iterable[str] = ()
    internal: bool = False
    mac: str = ""
    mtu: int = 0


class Attached(Value):
    """What came of it. `index` is of the link here, `inner` of the one inside, `device` its name."""

    wanted: Wanted
    link: str
    index: int
    device: str
    inner: int
    address: str
    address6: str = ""


class NetworkAttachments:
    """The networks that a container is `attached` to, in the order in which it joined them."""

    attached: list[Attached]

    @property
    def way_out(self) -> Attached | None:
        """The first network that is not internal: it has the default route, where there is one."""
        return first_way_out(self.attached)


def first_way_out(attached: Iterable[Attached]) -> Attached | None:
    """The first network that is not internal."""
    return next((each for each in attached if not each.wanted.internal), None)
