"""What this machine must let pass for packets to reach containers: forwarding, and the rules of others.

A machine that forwards nothing is changed, because nothing works before; that stays, and is said. A chain of
somebody else that drops what it does not know (docker's, ufw's, firewalld's) gets two rules at its head that
let links of containers pass; what comes to each is decided by the table of each.
"""

from __future__ import annotations

import fcntl
import os

from ...words.errors import SandboxError
from . import nftables as nft
from .netlink import NetlinkError
from .rules import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .nftables import BaseChain, Firewall

_IPV4, _IPV6 = "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"
_USERS = "DOCKER-USER"
_FIREWALLD = "firewalld"
_COMMENT = b"nacre: links of containers"
NOTE = bytes([0, len(_COMMENT) + 1]) + _COMMENT + b"\0"
"""How our rules are known again, as nft(8) keeps a comment."""


def enabled(version: int = 4) -> bool:
    """Whether this machine forwards packets of IP version 4 or 6, in this network namespace."""
    try:
        with open(_IPV4 if version == 4 else _IPV6, encoding="utf-8") as file:
            return file.read().strip() != "0"
    except OSError:
        return False


def possible() -> bool:
    """Whether it forwards IPv4, or can be told to."""
    return enabled() or os.access(_IPV4, os.W_OK)


def enable() -> None:
    """Have it forward IPv4. Raises SandboxError when that is forbidden."""
    try:
        fd = os.open(_IPV4, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
    except OSError as error:
        raise SandboxError(
            f"this machine does not forward packets, and that cannot be changed: {error.strerror}",
            hint="sysctl -w net.ipv4.ip_forward=1, or --network host",
        ) from None


def check(version: int) -> None:
    """Raises SandboxError unless packets are forwarded. That of IPv6 is left to whoever runs the machine:
    with it a link that has its own address from a router's announcements loses it.
    """
    if enabled(version):
        return
    if version == 4:
        enable()
        return
    raise SandboxError(
        "this machine does not forward IPv6 packets",
        hint="sysctl -w net.ipv6.conf.all.forwarding=1, with net.ipv6.conf.LINK.accept_ra=2 where needed",
    )


def let_pass(firewall: Firewall) -> None:
    """Put our rules into the chains that would drop. A chain that cannot be changed is left as it is.

    One process at a time in each network namespace: after a reload of firewalld all keepers do it at once.
    """
    fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        _let_pass(firewall)
    finally:
        os.close(fd)


def _let_pass(firewall: Firewall) -> None:
    for base in firewall.bases(nft.FORWARD):
        if base.drops or base.table == _FIREWALLD:
            try:
                _insert(firewall, base)
            except NetlinkError:  # it belongs to a program that lets nobody in: docs/network.md
                continue


def _insert(firewall: Firewall, base: BaseChain) -> None:
    name = base.name
    if base.name == "FORWARD" and _USERS in firewall.chains(base.family, base.table):
        name = _USERS
    if NOTE in firewall.notes(base.family, base.table, name):
        return
    firewall.change(
        nft.rule(
            base.table, name, [*nft.link(key, f"{PREFIX}*"), nft.counter(), nft.verdict(nft.ACCEPT)],
            family=base.family, first=True, note=NOTE,
        )
        for key in (nft.OIFNAME, nft.IIFNAME)
    )  # fmt: skip
