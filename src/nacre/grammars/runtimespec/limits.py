"""`linux.resources` of a runtime config. Source: OCI runtime-spec config-linux.md, "Control groups"."""

from __future__ import annotations

from .shapes import each, fields, number, plain, switch, table, text, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..jsonnode import JsonNode

_LONG, _UNSIGNED, _WORD = (1 << 63) - 1, (1 << 64) - 1, (1 << 32) - 1
_any = number(-1, _LONG)
_whole = number(0, _UNSIGNED)
_device = number(-1, _WORD)


def _access(node: JsonNode) -> str:
    found = plain(node)
    if set(found) - set("rwm"):
        raise node.wrong(f"is {node.shown()}, not letters of rwm")
    return found


_RATES = each(fields("major minor rate", major=_device, minor=_device, rate=_whole))
RESOURCES = fields(
    devices=each(fields("allow", allow=switch, type=word("a", "b", "c"), major=_device, minor=_device,
                        access=_access)),
    memory=fields(
        limit=_any, reservation=_any, swap=_any, kernel=_any, kernelTCP=_any, swappiness=number(0, 200),
        disableOOMKiller=switch, useHierarchy=switch, checkBeforeUpdate=switch,
    ),
    cpu=fields(
        shares=_whole, quota=number(-_LONG, _LONG), burst=_whole, period=_whole,
        realtimeRuntime=number(-1, _LONG), realtimePeriod=_whole, cpus=plain, mems=plain, idle=number(0, 1),
    ),
    blockIO=fields(
        weight=number(0, 1000), leafWeight=number(0, 1000),
        weightDevice=each(fields("major minor", major=_device, minor=_device, weight=number(0, 1000),
                                 leafWeight=number(0, 1000))),
        throttleReadBpsDevice=_RATES, throttleWriteBpsDevice=_RATES, throttleReadIOPSDevice=_RATES,
        throttleWriteIOPSDevice=_RATES,
    ),
    hugepageLimits=each(fields("pageSize limit", pageSize=text, limit=_whole)),
    network=fields(classID=number(0, _WORD),
                   priorities=each(fields("name priority", name=text, priority=number(0, _WORD)))),
    pids=fields(limit=_any),
    rdma=table(fields(hcaHandles=number(0, _WORD), hcaObjects=number(0, _WORD))),
    unified=table(plain),
)  # fmt: skip
"""As a shape."""
