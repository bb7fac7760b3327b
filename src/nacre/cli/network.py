"""`nacre network`: networks of containers.

Source: docker/cli cli/command/network; moby daemon/network.go.
"""

from __future__ import annotations

from ..words.errors import NotFound, Unsupported
from .each import each, inspect_each
from .filters import Filters
from .options import Command, choice, flag, many, name_and_value, text
from .output import LISTING, listing, moment
from .prune import agreed, network_picked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine.networks import NetworkCollection
    from ..grammars.gotemplate import Struct
    from ..stores.networks import Network
    from .context import Context
    from .options import Args, Option

_TYPES = ("custom", "builtin")


_REFUSED = "Refused"
_OF_CREATE = {
    text("--config-from", _REFUSED, hidden=True): "networks are not made from others",
    flag("--config-only", _REFUSED, hidden=True): "networks are not made from others",
    flag("--ingress", _REFUSED, hidden=True): "there is no swarm",
    many("--ipam-opt", _REFUSED, hidden=True): "the driver of addresses has no options",
}
_OF_CONNECT = {
    many("--driver-opt", _REFUSED, hidden=True): "endpoints have no options of their own",
    text("--gw-priority", _REFUSED, hidden=True): "the first network that leads out has the default route",
    many("--link", _REFUSED, hidden=True): "containers in one network know each other by name",
    many("--link-local-ip", _REFUSED, hidden=True): "containers get no link-local IPv4 addresses",
}
"""Options of docker's that cannot be obeyed, and why."""


def _refuse(args: Args, options: dict[Option, str]) -> None:
    for option, why in options.items():
        if option.key in args.given:
            raise Unsupported(f"--{option.name} is not supported: {why}")


def _create(context: Context, args: Args) -> int:
    """Print the id of the new network."""
    _refuse(args, _OF_CREATE)
    if not args.ipv4:
        raise Unsupported("networks without IPv4 are not supported")
    if args.driver != "bridge":
        raise Unsupported(f"networks have one driver, bridge, not {args.driver!r}")
    made = context.engine.networks.create(
        args.positionals[0], subnets=args.subnet, gateways=args.gateway, ip_range=_range(args.ip_range),
        reserved=[value for _, value in args.aux_address], internal=args.internal, ipv6=args.ipv6,
        labels=[name_and_value(label) for label in args.label], options=args.opt,
    )  # fmt: skip
    context.print(made.id)
    return 0


def _range(given: list[str]) -> str:
    if len(given) > 1 or any(":" in text for text in given):
        raise Unsupported("a network has one --ip-range, of IPv4")
    return "".join(given)


def _list(context: Context, args: Args) -> int:
    filters = Filters(args.filter, ("dangling", "driver", "id", "label", "name", "scope", "type"))
    dangling = filters.flag("dangling")
    filters.one_of("type", _TYPES)
    networks = context.engine.networks
    found = [one for one in networks.list() if _allows(filters, one) and _dangles(networks, one, dangling)]
    columns = [("NETWORK ID", "ID"), ("NAME", "Name"), ("DRIVER", "Driver"), ("SCOPE", "Scope")]
    listing(context, args, [_row(one, args) for one in found], columns)
    return 0


def _allows(filters: Filters, network: Network) -> bool:
    from .documents.network import driver_of

    return (
        filters.matches("name", network.name)
        and filters.matches("id", network.id)
        and filters.allows("driver", driver_of(network.name))
        and filters.allows("scope", "local")
        and filters.allows("type", _TYPES[network.predefined])
        and filters.labels(dict(network.labels))
    )


def _dangles(networks: NetworkCollection, network: Network, wanted: bool | None) -> bool:
    """Whether nobody is in it, of those that users have made."""
    if wanted is None:
        return True
    return not network.predefined and wanted == (not networks.members(network.name))


def _row(network: Network, args: Args) -> Struct:
    from ..grammars.gotemplate import Struct
    from .documents.network import driver_of

    labels = dict(network.labels)
    known = {
        "CreatedAt": moment(network.created), "Driver": driver_of(network.name),
        "ID": network.id if args.no_trunc else network.id[:12], "IPv4": "true",
        "IPv6": str(bool(network.subnet6)).lower(), "Internal": str(network.internal).lower(),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Name": network.name, "Scope": "local",
    }  # fmt: skip
    return Struct(known, "row", methods={"Label": lambda _row, name: labels.get(name, "")})


def _inspect(context: Context, args: Args) -> int:
    return inspect_each(context, args.positionals, args.format, lambda name: document(context, name))


def document(context: Context, name: str) -> Any:
    """Of a network by name, id or the beginning of one. Raises NotFound, Conflict."""
    from .documents.network import network_document

    networks = context.engine.networks
    network = networks.get(name)
    return network_document(network, networks.members(network.name))


def _remove(context: Context, args: Args) -> int:
    def remove(name: str) -> None:
        try:
            context.engine.networks.remove(name)
        except NotFound:
            if not args.force:
                raise

    return each(context, args.positionals, remove)


def _connect(context: Context, args: Args) -> int:
    _refuse(args, _OF_CONNECT)
    network, container = args.positionals
    context.engine.networks.connect(network, container, aliases=args.alias, ip=args.ip, ip6=args.ip6)
    return 0


def _disconnect(context: Context, args: Args) -> int:
    network, container = args.positionals
    context.engine.networks.disconnect(network, container, force=args.force)
    return 0


def _prune(context: Context, args: Args) -> int:
    filters = Filters(args.filter, ("label", "label!", "until"))
    wanted = network_picked(filters)
    if not args.force and not agreed(context, ["all custom networks not used by at least one container"]):
        return 0
    if gone := context.engine.networks.prune(wanted):
        context.print("\n".join(["Deleted Networks:", *(one.name for one in gone), ""]))
    return 0


CREATE = Command(
    "NETWORK",
    _create,
    options=(
        flag("--attachable", "Accepted for compatibility: every network is", hidden=True),
        many("--aux-address", "Addresses that no container gets (NAME=ADDRESS)", type="map", kind="pair"),
        text("-d, --driver", "Driver to manage the Network", default="bridge"),
        many("--gateway", "IPv4 or IPv6 Gateway for the master subnet", kind="address"),
        flag("--internal", "Restrict external access to the network"),
        choice("--ipam-driver", "IP Address Management Driver", ("default",), default="default", hidden=True),
        flag("--ipv4", "Enable IPv4 networking (always enabled)", default=True, hidden=True),
        many("--ip-range", "Allocate container ip from a sub-range"),
        flag("--ipv6", "Enable IPv6 networking"),
        many("--label", "Set metadata on a network", kind="label"),
        many("-o, --opt", "Set driver specific options", type="map", kind="pair"),
        choice("--scope", "Scope of the network", ("local",), default="local", hidden=True),
        many("--subnet", "Subnet in CIDR format that represents a network segment"),
        *_OF_CREATE,
    ),
)
LS = Command("", _list, options=LISTING)
INSPECT = Command(
    "NETWORK [NETWORK...]",
    _inspect,
    options=(
        text("-f, --format", "Format output: 'json' or a Go template"),
        flag("-v, --verbose", "Verbose output for diagnostics (has no effect)"),
    ),
)
RM = Command(
    "NETWORK [NETWORK...]",
    _remove,
    options=(flag("-f, --force", "Do not error if the network does not exist"),),
)
CONNECT = Command(
    "NETWORK CONTAINER",
    _connect,
    options=(
        many("--alias", "Add network-scoped alias for the container"),
        text("--ip", "IPv4 address (e.g., 172.30.100.104)", kind="address"),
        text("--ip6", "IPv6 address (e.g., 2001:db8::33)", kind="address"),
        *_OF_CONNECT,
    ),
)
DISCONNECT = Command(
    "NETWORK CONTAINER",
    _disconnect,
    options=(flag("-f, --force", "Force the container to disconnect from a network"),),
)
PRUNE = Command(
    "",
    _prune,
    options=(
        many("--filter", "Only what fits: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]", type="filter"),
        flag("-f, --force", "Do not prompt for confirmation"),
    ),
)
