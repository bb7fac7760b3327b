"""Functions of bake files that encode, hash, count time and addresses.

Source: go-cty, function/stdlib; go-cty-funcs.
"""

from __future__ import annotations

import csv
import hashlib
import ipaddress
import json
import re
import uuid
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote_plus

from ...words.lines import lines
from .values import BadValue, number, plain, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DATE = re.compile(r"'((?:[^']|'')*)'|(Y+|M+|D+|E+|h+|H+|A+|a+|m+|s+|Z+)|(.)", re.DOTALL)
_NAMESPACES = {
    "dns": uuid.NAMESPACE_DNS, "url": uuid.NAMESPACE_URL, "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}  # fmt: skip


def encode_json(value: Any) -> str:
    """JSON as Go writes it: names sorted, no blanks, <, > and & escaped."""
    done = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return done.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _decode_json(value: Any) -> Any:
    try:
        return json.loads(text(value), parse_float=lambda digits: plain(float(digits)))
    except RecursionError:
        raise BadValue("jsondecode(): nested too deeply") from None


def _decode_base64(value: Any) -> str:
    try:
        return b64decode(text(value), validate=True).decode()
    except UnicodeDecodeError:
        raise BadValue("base64decode(): the content is not UTF-8") from None


def _decode_csv(value: Any) -> list[dict[str, str]]:
    rows = list(csv.reader(lines(text(value)), strict=True))
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise BadValue("csvdecode(): the rows do not fit the first one")
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _hash(name: str) -> Callable[[Any], str]:
    return lambda value: hashlib.new(name, text(value).encode(), usedforsecurity=False).hexdigest()


def _uuid5(space: Any, name: Any) -> str:
    known = _NAMESPACES.get(text(space))
    return str(uuid.uuid5(known or uuid.UUID(text(space)), text(name)))


# time


def _parsed(stamp: Any) -> datetime:
    try:
        return datetime.fromisoformat(text(stamp))
    except ValueError:
        raise BadValue(f"{text(stamp)[:40]!r} is no time as RFC 3339 has it") from None


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_add(stamp: Any, duration: Any) -> str:
    written = text(duration)
    pieces = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", written)
    if not pieces or "".join(map("".join, pieces)) != written.lstrip("+-"):
        raise BadValue(f"invalid duration {written[:40]!r}")
    seconds = sum(float(count) * _UNITS[unit] for count, unit in pieces)
    done = _parsed(stamp) + timedelta(seconds=-seconds if written.startswith("-") else seconds)
    return done.isoformat().replace("+00:00", "Z")


def _format_date(form: Any, stamp: Any) -> str:
    """YYYY YY MMMM MMM MM M DD D EEEE EEE hh h HH H AA aa mm m ss s ZZZZZ ZZZZ ZZZ Z, and '…' as it is."""
    when = _parsed(stamp)

    def word(found: re.Match[str]) -> str:
        if found[2]:
            return _date_part(when, found[2])
        return (found[1] or "").replace("''", "'") or ("'" if found[0] == "''" else found[3] or "")

    return _DATE.sub(word, text(form))


def _date_part(when: datetime, word: str) -> str:
    form = _DATE_PARTS.get(word)
    if form is None:
        raise BadValue(f"formatdate() does not know {word!r}")
    return form(when)


def _zone(when: datetime, colon: str, zero: str = "") -> str:
    offset = when.utcoffset() or timedelta()
    if zero and not offset:
        return zero
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{colon}{abs(minutes) % 60:02}"


_DATE_PARTS: Mapping[str, Callable[[datetime], str]] = {
    "YYYY": lambda when: f"{when.year:04}", "YY": lambda when: f"{when.year % 100:02}",
    "MMMM": lambda when: when.strftime("%B"), "MMM": lambda when: when.strftime("%b"),
    "MM": lambda when: f"{when.month:02}", "M": lambda when: f"{when.month}",
    "DD": lambda when: f"{when.day:02}", "D": lambda when: f"{when.day}",
    "EEEE": lambda when: when.strftime("%A"), "EEE": lambda when: when.strftime("%a"),
    "hh": lambda when: f"{when.hour:02}", "h": lambda when: f"{when.hour}",
    "HH": lambda when: f"{when.hour % 12 or 12:02}", "H": lambda when: f"{when.hour % 12 or 12}",
    "AA": lambda when: "PM" if when.hour > 11 else "AM", "aa": lambda when: "pm" if when.hour > 11 else "am",
    "mm": lambda when: f"{when.minute:02}", "m": lambda when: f"{when.minute}",
    "ss": lambda when: f"{when.second:02}", "s": lambda when: f"{when.second}",
    "ZZZZZ": lambda when: _zone(when, ":"), "ZZZZ": lambda when: _zone(when, ""),
    "ZZZ": lambda when: _zone(when, "", "UTC"), "Z": lambda when: _zone(when, ":", "Z"),
}  # fmt: skip


# addresses


def _network(prefix: Any) -> Network:
    return ipaddress.ip_network(text(prefix), strict=False)


def _host(prefix: Any, at: Any) -> str:
    network, offset = _network(prefix), int(number(at))
    offset += network.num_addresses if offset < 0 else 0
    if not 0 <= offset < network.num_addresses:
        raise BadValue(f"{network} has no host {int(number(at))}")
    return str(network.network_address + offset)


def _subnet(prefix: Any, bits: Any, at: Any) -> str:
    network, more, offset = _network(prefix), int(number(bits)), int(number(at))
    length = network.prefixlen + more
    if more < 0 or length > network.max_prefixlen or not 0 <= offset < 1 << more:
        raise BadValue(f"{network} cannot be extended by {more} bits for network {offset}")
    start = int(network.network_address) + (offset << (network.max_prefixlen - length))
    return f"{ipaddress.ip_address(start) if network.version == 4 else ipaddress.IPv6Address(start)}/{length}"


def _subnets(prefix: Any, *bits: Any) -> list[str]:
    """Networks one after the other, each aligned to its own size."""
    network, out = _network(prefix), []
    at = int(network.network_address)
    for more in bits:
        length = network.prefixlen + int(number(more))
        if not network.prefixlen < length <= network.max_prefixlen:
            raise BadValue(f"{network} cannot be extended by {more} bits")
        size = 1 << (network.max_prefixlen - length)
        at = -(-at // size) * size
        if at > int(network.broadcast_address):
            raise BadValue(f"{network} has no room for these networks")
        out.append(f"{type(network.network_address)(at)}/{length}")
        at += size
    return out


def _bytes_slice(value: Any, offset: Any, length: Any) -> str:
    start, size = int(number(offset)), int(number(length))
    return text(value).encode()[start : start + size].decode(errors="replace")


TABLE: Mapping[str, Callable[..., Any]] = {
    "base64encode": lambda value: b64encode(text(value).encode()).decode(),
    "base64decode": _decode_base64,
    "byteslen": lambda value: len(text(value).encode()),
    "bytesslice": _bytes_slice,
    "urlencode": lambda value: quote_plus(text(value)),
    "jsonencode": encode_json,
    "jsondecode": _decode_json,
    "csvdecode": _decode_csv,
    "md5": _hash("md5"),
    "sha1": _hash("sha1"),
    "sha256": _hash("sha256"),
    "sha512": _hash("sha512"),
    "uuidv4": lambda: str(uuid.uuid4()),
    "uuidv5": _uuid5,
    "timestamp": _timestamp,
    "timeadd": _time_add,
    "formatdate": _format_date,
    "cidrhost": _host,
    "cidrnetmask": lambda prefix: str(_network(prefix).netmask),
    "cidrsubnet": _subnet,
    "cidrsubnets": _subnets,
}
