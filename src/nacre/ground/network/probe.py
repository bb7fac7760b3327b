"""Whether containers can have a network of their own here, by making one that is thrown away."""

from __future__ import annotations

import os
from errno import EBUSY

from ...words.errors import NacreError
from .. import linux, userns
from ..fork import fork
from . import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..fork import ChildReport

_ADDRESS, _LOOPBACK = "10.0.0.2", 1


def obstacle() -> str:
    """What is in the way, "" for nothing. In a namespace of its own: nothing of the machine is touched."""
    try:
        fd = namespaces.new()
    except NacreError as error:
        return error.message
    try:
        return _of_links(fd) if userns.is_first() else _of_loopback(fd) or _of_switching()
    except NacreError as error:
        return error.message
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(fd)


def _of_loopback(fd: int) -> str:
    """Whether what is in the namespace can be set up: it takes CAP_NET_ADMIN. Raises OSError."""
    from . import links
    from .netlink import ROUTE, Netlink

    def work() -> str:
        namespaces.enter(fd)
        with Netlink(ROUTE) as netlink:
            netlink.send([links.up(_LOOPBACK)])
        return ""

    return namespaces.apart(work)


def _of_switching() -> str:
    """Whether a filter can hand over system calls, found out by a child. Raises OSError, NacreError."""
    from . import notifier

    code = notifier.program(linux.MACHINE)

    def work(report: ChildReport) -> None:
        notifier.install(code)
        report.tell()

    try:
        with fork(work, what="the process that tries to answer system calls") as child:
            child.answer()
            child.wait()
    except OSError as error:
        if error.errno == EBUSY:
            return "another program answers system calls already"
        return f"system calls cannot be answered: {error.strerror}"
    return ""


def _of_links(fd: int) -> str:
    """Whether links and rules can be made there. Raises OSError."""
    from . import forwarding

    with namespaces.InsideNamespace(fd):
        _make(fd)
    return "" if forwarding.possible() else "it does not forward packets, and that cannot be changed"


def _make(fd: int) -> None:
    """A pair of links and a table with every kind of rule."""
    from . import links, rules
    from .netlink import ROUTE, Netlink
    from .nftables import Firewall

    name = f"{rules.PREFIX}probe"
    link = rules.Link(name, 1, _ADDRESS)
    forward = rules.Forward("0.0.0.0", 80, "tcp", _ADDRESS, 80)
    with Netlink(ROUTE) as netlink:
        netlink.send([links.pair(name, "eth0", fd, group=1)])
    firewall = Firewall()
    try:
        firewall.change(rules.table("nacre-probe", [link], [forward]))
    finally:
        firewall.close()
