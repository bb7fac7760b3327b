"""Networks by name: which subnets they have, and who is in them.

    networks/lock                     held while a network is made or removed
    networks/<name>/network           what it is, as JSON; there once it is whole
    networks/.probed                  a link that leads nowhere: where and since when `bridge` is possible
    networks/<name>/members/<id>      a link that leads nowhere; its text says which addresses and names the
                                      container has: `10.90.1.2 fd00::2 02:… web db.local`, `-` for none

A member is one as long as its container is kept: what a kill leaves is told by the container's lock. The
addresses themselves are claimed in the kernel. `bridge` is made when it is first needed.
"""

from __future__ import annotations

import os
import time

from ..ground.files import Lock, os_errors, private_dir, remove_tree, unlink, write_atomic
from ..words.addresses import Subnet
from ..words.errors import Conflict, NotFound, SandboxError, StoreError, UsageError
from ..words.quickjson import dumps, loads
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = (BRIDGE, HOST, NONE)
PROGRAMS = ("pasta", "slirp4netns")
RESERVED = (*PREDEFINED, "default", "container", *PROGRAMS)

_POOL = Subnet(4, (10 << 24) + (90 << 16), 16)
"""Where the subnets of networks come from that were given none; then its neighbours up to 10.127."""
_POOLS, _PREFIX, _PREFIX6 = 38, 24, 64
_SPECIAL = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/64", "fe80::/10", "ff00::/8")
"""Addresses that mean something else: this machine, loopback, neighbours, many at once."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_LONGEST = 128


class Network(Value):
    """One network. `created` in seconds since 1970.

    `subnet6` "": it has no IPv6. `range` is the part of the subnet that addresses are taken from; `reserved`
    are addresses that nobody gets. `internal`: nothing goes out of it. `chosen`: a user named its subnet, so
    that containers may ask for addresses. `options` are those of its driver.
    """

    id: str
    name: str
    created: float
    subnet: str
    gateway: str
    subnet6: str = ""
    gateway6: str = ""
    range: str = ""
    reserved: tuple[str, ...] = ()
    internal: bool = False
    chosen: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    @property
    def group(self) -> int:
        """The number of the links of its members, in any namespace of this machine; never 0."""
        return int(self.id[:8], 16) or 1

    @property
    def predefined(self) -> bool:
        """Whether it is one of those that are always there."""
        return self.name in PREDEFINED

    def addresses(self) -> Iterable[str]:
        """IPv4 addresses for containers, in order."""
        taken = {self.gateway, *self.reserved}
        hosts = Subnet.parse(self.range or self.subnet).hosts()
        return (address for address in hosts if address not in taken)

    def addresses6(self) -> Iterable[str]:
        """The same of IPv6."""
        taken = {self.gateway6, *self.reserved}
        hosts = Subnet.parse(self.subnet6).hosts() if self.subnet6 else iter(())
        return (address for address in hosts if address not in taken)


class Member(Value):
    """A container in a network: `names` are those that others know it by, its own first."""

    container: str
    address: str
    address6: str
    mac: str
    names: tuple[str, ...]


class Networks:
    """The networks of the store `root`. `is_kept(id)` says whether somebody keeps a container now."""

    def __init__(self, root: str, is_kept: Callable[[str], bool]) -> None:
        self._folder, self._is_kept = f"{root}/networks", is_kept

    def create(self, network: Network, used: Iterable[Subnet] = ()) -> Network:
        """Make a network, with a free subnet if it has none; `used` are those of this machine.

        Raises UsageError, Conflict when the name or the subnet is taken.
        """
        _check_name(network.name)
        network = _checked(network)
        with os_errors(f"create network {network.name}"), self._lock():
            if self._exists(network.name):
                raise Conflict(f"network with name {network.name} already exists")
            whole = self._with_subnets(network, used)
            private_dir(f"{self._folder}/{network.name}")
            private_dir(f"{self._folder}/{network.name}/members")
            write_atomic(f"{self._folder}/{network.name}/network", dumps(_document(whole)).encode())
        return whole

    def _lock(self) -> Lock:
        private_dir(self._folder)
        return Lock(f"{self._folder}/lock")

    def _exists(self, name: str) -> bool:
        return os.path.exists(f"{self._folder}/{name}/network")

    def _with_subnets(self, network: Network, used: Iterable[Subnet]) -> Network:
        others = [Subnet.parse(text) for each in self.every() for text in (each.subnet, each.subnet6) if text]
        for text in filter(None, (network.subnet, network.subnet6)):
            if any(Subnet.parse(text).overlaps(other) for other in others):
                raise Conflict(
                    "invalid pool request: Pool overlaps with other one on this address space", hint=text
                )
        if not network.subnet:
            free = _free([*others, *used])
            network = network.replace(subnet=str(free), gateway=free.at(1))
        return network

    def bridge(self, used: Callable[[], Iterable[Subnet]]) -> Network:
        """The default network, made if this store has none yet."""
        if not self._exists(BRIDGE):
            try:
                return self.create(Network(new_id(), BRIDGE, time.time(), "", ""), used())
            except Conflict:  # another command was faster
                if not self._exists(BRIDGE):
                    raise
        return self._read(BRIDGE)

    def is_probed(self, where: str) -> bool:
        """Whether `note_probed` was called with the same."""
        try:
            return os.readlink(f"{self._folder}/.probed") == where
        except OSError:
            return False

    def note_probed(self, where: str) -> None:
        """Networks are possible `where`; a store that cannot be written to forgets it."""
        private_dir(self._folder)
        unlink(f"{self._folder}/.probed")
        try:
            os.symlink(where, f"{self._folder}/.probed")
        except FileExistsError:  # by another command
            return

    def every(self) -> list[Network]:
        """All that are in files, by name."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        return [self._read(name) for name in names if self._exists(name)]

    def changed(self) -> int:
        """When a network was made or removed last, in nanoseconds; its files come a moment later."""
        try:
            return os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return 0

    def _read(self, name: str) -> Network:
        path = f"{self._folder}/{name}/network"
        try:
            with os_errors(f"read {path}"), open(path, "rb") as file:
                fields = loads(file.read())
            pairs = {key: tuple(fields[key].items()) for key in ("labels", "options")}
            return Network(**{**fields, **pairs, "reserved": tuple(fields["reserved"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise StoreError(f"{path} is damaged", hint=f"remove {self._folder}/{name}") from None

    def get(self, text: str) -> Network:
        """By name, id or unique beginning of an id. Raises NotFound, Conflict."""
        if is_name(text) and self._exists(text):
            return self._read(text)
        found = [network for network in self.every() if text and network.id.startswith(text)]
        if len(found) > 1:
            raise Conflict(f"network {text} is ambiguous ({len(found)} matches found on ID prefix)")
        if not found:
            raise NotFound(f"network {text} not found")
        return found[0]

    def remove(self, text: str) -> Network:
        """Raises NotFound; Conflict while containers that run are in it, and for what is always there."""
        if text in PREDEFINED:
            raise Conflict(f"{text} is a pre-defined network and cannot be removed")
        with os_errors(f"remove network {text}"), self._lock():
            network = self.get(text)
            if network.name == BRIDGE:
                raise Conflict(f"{BRIDGE} is a pre-defined network and cannot be removed")
            members = self.members(network.name)
            if members:
                shown = ", ".join(f'name:"{each.names[0]}" id:"{each.container[:12]}"' for each in members)
                raise Conflict(
                    f"error while removing network: network {network.name} has active endpoints ({shown})"
                )
            unlink(f"{self._folder}/{network.name}/network")
            remove_tree(f"{self._folder}/{network.name}")
        return network

    def join(self, name: str, member: Member) -> None:
        """Let others in the network know of a container; what kills have left is removed.

        Raises StoreError, NotFound when the network is gone.
        """
        with os_errors(f"join network {name}"), self._lock():
            self._join(name, member)

    def _join(self, name: str, member: Member) -> None:
        path = f"{self._folder}/{name}/members/{member.container}"
        words = (member.address, member.address6 or "-", member.mac, *member.names)
        if not self._exists(name):
            raise NotFound(f"network {name} not found")
        for other in self._written(name):
            if other.container == member.container or not self._is_kept(other.container):
                unlink(f"{self._folder}/{name}/members/{other.container}")
        os.symlink(" ".join(words), path)

    def admit(
        self, network: Network, address: str, address6: str, member: Callable[[str, str], Member]
    ) -> Member:
        """As `join`, with free addresses unless they are asked for; `member` says who it is with them.

        Raises SandboxError for an address that another has, and when there is none left.
        """
        with os_errors(f"join network {network.name}"), self._lock():
            there = self.members(network.name)
            taken = {each for other in there for each in (other.address, other.address6)}
            four = _free_address(network, address, network.addresses(), taken)
            six = _free_address(network, address6, network.addresses6(), taken) if network.subnet6 else ""
            found = member(four, six)
            self._join(network.name, found)
        return found

    def leave(self, name: str, container: str) -> None:
        """The opposite; nothing happens when it is not in it."""
        path = f"{self._folder}/{name}/members/{container}"
        with os_errors(f"leave network {name}"):
            unlink(path)

    def members(self, name: str) -> list[Member]:
        """Those whose containers run."""
        return [member for member in self._written(name) if self._is_kept(member.container)]

    def joined(self, name: str) -> int:
        """When somebody has joined or left a network last, in nanoseconds; 0 for one that is gone."""
        try:
            return os.stat(f"{self._folder}/{name}/members").st_mtime_ns
        except FileNotFoundError:
            return 0

    def _written(self, name: str) -> list[Member]:
        folder = f"{self._folder}/{name}/members"
        try:
            ids = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        found = []
        for number in ids:
            try:
                address, address6, mac, *names = os.readlink(f"{folder}/{number}").split(" ")
            except (OSError, ValueError):
                continue
            found.append(Member(number, address, "" if address6 == "-" else address6, mac, tuple(names)))
        return found

    def named(self, networks: Iterable[str], name: str) -> list[Member]:
        """Those in any of the networks that are known by a name, in lower case."""
        return [
            member
            for network in networks
            for member in self._written(network)
            if any(each.lower() == name for each in member.names) and self._is_kept(member.container)
        ]

    def with_address(self, name: str, address: str) -> Member | None:
        """Who has an address in a network."""
        found = (each for each in self._written(name) if address in (each.address, each.address6))
        return next((each for each in found if self._is_kept(each.container)), None)

    def at(self, networks: Iterable[str], address: str) -> str:
        """The name of the container that has an address, with that of the network; "" for nobody."""
        for network in networks:
            for member in self._written(network):
                if address in (member.address, member.address6) and self._is_kept(member.container):
                    return f"{member.names[0]}.{network}"
        return ""


def id_of(root: str, name: str) -> str:
    """The id of the network with a name; "" for one that is gone. Raises StoreError."""
    try:
        return Networks(root, lambda _number: False).get(name).id
    except NotFound:
        return ""


def _free_address(network: Network, asked: str, addresses: Iterable[str], taken: set[str]) -> str:
    if asked and asked in taken:
        raise SandboxError(f"failed to set up container networking: Address already in use: {asked}")
    found = asked or next((address for address in addresses if address not in taken), "")
    if not found:
        raise SandboxError(f"network {network.name} has no free addresses left in {network.subnet}")
    return found


def new_id() -> str:
    """64 random hexadecimal digits."""
    return os.urandom(32).hex()


def is_program(network: str) -> bool:
    """Whether a network is what another program makes, with or without options."""
    return network.partition(":")[0] in PROGRAMS


def is_name(text: str) -> bool:
    """Whether it fits docker's grammar, [a-zA-Z0-9][a-zA-Z0-9_.-]*."""
    good = all(char in _LETTERS or char in "_.-" for char in text)
    return good and text[:1] in _LETTERS and len(text) <= _LONGEST


def _check_name(name: str) -> None:
    """`bridge` is ours to make."""
    if not is_name(name):
        raise UsageError(
            f"invalid network name {name!r}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at most {_LONGEST}"
        )
    if name == "lock" or name in RESERVED[1:]:
        raise Conflict(f"operation is not permitted on predefined {name} network")


def _checked(network: Network) -> Network:
    """With gateways. Raises UsageError for subnets that cannot be one, and what is not in them."""
    gateway = _gateway(network.subnet, network.gateway)
    gateway6 = _gateway(network.subnet6, network.gateway6)
    if network.range:
        part = Subnet.parse(network.range)
        if not network.subnet or not part.within(Subnet.parse(network.subnet)):
            raise UsageError(f"no matching subnet for range {network.range}")
    subnets = [Subnet.parse(text) for text in (network.subnet, network.subnet6) if text]
    for address in network.reserved:
        if not any(_holds(subnet, address) for subnet in subnets):
            raise UsageError(f"no matching subnet for aux-address {address}")
    return network.replace(gateway=gateway, gateway6=gateway6)


def _gateway(text: str, asked: str) -> str:
    if not text:
        if asked:
            raise UsageError(f"no matching subnet for gateway {asked}")
        return ""
    subnet = Subnet.parse(text)
    bits = 32 if subnet.version == 4 else 128
    if not 8 <= subnet.prefix <= bits - 2 or any(subnet.overlaps(Subnet.parse(other)) for other in _SPECIAL):
        raise UsageError(f"invalid subnet {text}: it cannot be that of a network of containers")
    if asked and not _holds(subnet, asked):
        raise UsageError(f"no matching subnet for gateway {asked}")
    return asked or subnet.at(1)


def _holds(subnet: Subnet, address: str) -> bool:
    """Raises UsageError for what is no address."""
    try:
        return address in subnet
    except ValueError as error:
        raise UsageError(str(error)) from None


def _document(network: Network) -> dict[str, object]:
    fields = dict(zip(network._fields, network._astuple(), strict=True))
    labels, options = dict(network.labels), dict(network.options)
    return {**fields, "labels": labels, "options": options, "reserved": list(network.reserved)}


def _free(taken: list[Subnet]) -> Subnet:
    """The first that overlaps none. Raises Conflict."""
    size = 1 << (32 - _PREFIX)
    for number in range(_POOLS * (_POOL.size // size)):
        subnet = Subnet(4, _POOL.base + number * size, _PREFIX)
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise Conflict("all predefined address pools have been fully subnetted", hint="name one with --subnet")


def generated6() -> Subnet:
    """A random unique local subnet of IPv6. Source: RFC 4193."""
    return Subnet(6, int.from_bytes(b"\xfd" + os.urandom(7), "big") << 64, _PREFIX6)
