"""Whether containers can have a network of their own here, by making one that is thrown away."""

from __future__ import annotations

import os
from errno import EBUSY

from ...words.errors import NacreError, SandboxError
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
        _attempt()
    except NacreError as error:
        return error.message
    except OSError as error:
        return str(error.strerror)
    return ""


def _attempt() -> None:
    """What root's network takes, or that of others. Raises NacreError, OSError, as all of this does."""
    fd = namespaces.new()
    try:
        if userns.is_first():
            _link(fd)
        else:
            _loopback(fd)
            _switch()
    finally:
        os.close(fd)


def _loopback(fd: int) -> None:
    """What is in the namespace can be set up: it takes CAP_NET_ADMIN."""
    from . import links
    from .netlink import ROUTE, Netlink

    def work() -> None:
        namespaces.enter(fd)
        with Netlink(ROUTE) as netlink:
            netlink.send([links.up(_LOOPBACK)])

    namespaces.apart(work)


def _switch() -> None:
    """A filter can hand over system calls, as a child finds out."""
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
            raise SandboxError("another program answers system calls already") from None
        raise SandboxError(f"system calls cannot be answered: {error.strerror}") from None


def _link(fd: int) -> None:
    """Links and rules can be made there, and packets forwarded."""
    from . import forwarding

    with namespaces.InsideNamespace(fd):
        _make(fd)
    if not forwarding.possible():
        raise SandboxError("it does not forward packets, and that cannot be changed")


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
