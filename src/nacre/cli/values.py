"""Readers of option values that have a grammar of their own; each raises ValueError with docker's words.

Imported when such an option stands on the line. Source: docker/cli opts and cli/command/container/opts.go;
docker/go-units; docker/go-connections nat.
"""

from __future__ import annotations

from ..words.sizes import read_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ULIMITS = (
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip
_STREAMS = ("stdin", "stdout", "stderr")
_DURATIONS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PAIR = 2
_NANO, _LONGEST_NUMBER = 9, 32
_LIGHTEST, _HEAVIEST, _MOST_WEIGHT = 10, 1000, (1 << 16) - 1


def whole(text: str, what: str = "a whole number") -> int:
    """Digits, with a sign. Raises ValueError."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise ValueError(f"{text!r} is not {what}")
    return int(text)


def ulimit(text: str) -> tuple[str, int, int]:
    """`nofile=1024[:2048]`: name, soft and hard limit, -1 for none."""
    name, equals, limits = text.partition("=")
    soft, colon, hard = limits.partition(":")
    if not equals or not limits or (colon and not hard) or ":" in hard:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    low, high = whole(soft), whole(hard or soft)
    if high != -1 and (low == -1 or low > high):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    return name, low, high


def attach(text: str) -> str:
    """stdin, stdout or stderr, in any case."""
    if text.lower() not in _STREAMS:
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def expose(text: str) -> str:
    """`80`, `80/udp` or `8000-8010/tcp`, told as `first[-last]/protocol`."""
    from ..grammars.ports import parse_expose

    try:
        ports = parse_expose(text)
    except ValueError as error:
        if str(error).startswith("invalid proto"):
            raise
        raise ValueError(f"invalid range format for --expose: {text}, error: {error}") from None
    first, last = ports[0], ports[-1]
    return first if first == last else f"{first.partition('/')[0]}-{last}"


def publish(text: str) -> str:
    """`[[ADDRESS:][HOST PORT]:]PORT[/PROTOCOL]`, where a port may be a range."""
    from ..grammars.ports import parse_publish

    parse_publish(text)
    return text


def _is_address(text: str) -> bool:
    from ..words.addresses import packed

    try:
        packed(text)
    except ValueError:
        return False
    return True


def mac(text: str) -> str:
    """The address of a link."""
    from ..grammars.endpoint import parse_mac

    return parse_mac(text)


def network(text: str) -> str:
    """A name, `container:NAME`, or `name=NAME,alias=ALIAS,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC`."""
    from ..grammars.endpoint import parse_endpoint

    parse_endpoint(text)
    return text


def address(text: str) -> str:
    """Check that `text` is an IP address. Raises ValueError."""
    if not _is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def host_entry(text: str) -> str:
    """Check that `text` is `NAME:ADDRESS`. Raises ValueError."""
    from ..words.addresses import extra_host

    extra_host(text)
    return text


def search_domain(text: str) -> str:
    """A domain to search; "." for none."""
    name = text.strip()
    letters = name.replace("-", "").replace(".", "").replace("_", "")
    if name != "." and not (letters.isascii() and letters.isalnum() and len(name) < 256):
        raise ValueError(f"{text} is not a valid domain")
    return name


def duration(text: str) -> int:
    """Go's: `1m30s`, `1.5h`, `0`; nanoseconds."""
    total, rest = 0, text
    while rest and rest != "0":
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("hmsnuµ"))]
        unit = next((name for name in ("ns", "us", "µs", "ms", "s", "m", "h") if unit.startswith(name)), "")
        if not unit or number.count(".") > 1 or not number.strip("."):
            raise ValueError(f"invalid duration {text!r}")
        total += round(float(number) * _DURATIONS[unit])
        rest = rest[len(unit) :]
    if not text:
        raise ValueError("invalid duration ''")
    return total


def health_time(text: str) -> int:
    """A duration of a health check."""
    found = duration(text)
    if 0 < found < 10**6:
        raise ValueError("cannot be less than 1ms")
    return found


def pair(text: str) -> tuple[str, str]:
    """Check that `text` is `KEY=VALUE`. Raises ValueError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError("it must be KEY=VALUE")
    return key, value


def label(text: str) -> str:
    """`KEY[=VALUE]`; the key has no blanks."""
    key = text.partition("=")[0].lstrip()
    if not key:
        raise ValueError(f"invalid label '{text}': empty name")
    if len(key.split()) > 1 or key != key.strip():
        raise ValueError(f"label '{key}' contains whitespaces")
    return text


def cache(text: str) -> str:
    """Where a cache of builds is: a reference, or `type=TYPE[,KEY=VALUE...]`."""
    fields = [field.partition("=") for field in text.split(",")]
    if len(fields) == 1 and not fields[0][1] and text:
        return text
    for key, equals, _ in fields:
        if not equals:
            raise ValueError(f"invalid value {key}")
    if not {key.strip().lower(): value for key, _, value in fields}.get("type"):
        raise ValueError(f'type required form> "{text}"')
    return text


def device_rule(text: str) -> str:
    """`c 1:3 rwm`. Source: moby daemon, the pattern of --device-cgroup-rule."""
    kind, numbers, access = (*text.split(" "), "", "", "")[:3]
    major, _, minor = numbers.partition(":")
    good = kind in ("a", "b", "c") and all(part == "*" or part.isdecimal() for part in (major, minor))
    if text.count(" ") != _PAIR or not good or not access or not set(access) <= set("rwm") or len(access) > 3:
        raise ValueError(f"invalid device cgroup format: {text!r}")
    return text


def cpus(text: str) -> float:
    """A number of processors, to the billionth."""
    whole_part, _, fraction = text.removeprefix("+").removeprefix("-").partition(".")
    if not (whole_part + fraction).isdigit() or not text.isascii() or len(text) > _LONGEST_NUMBER:
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > _NANO:
        raise ValueError("value is too precise")
    return float(text)


def swap(text: str) -> int:
    """Bytes, or -1 for any amount."""
    return -1 if text == "-1" else read_size(text)


def weight(text: str) -> int:
    """Of input and output, without its range."""
    found = whole(text)
    if not 0 <= found <= _MOST_WEIGHT:
        raise ValueError(f"{found} is out of range")
    return found


def device_weight(text: str) -> tuple[str, int]:
    """A disk and its weight, `/dev/sda:100`."""
    path, value = _of_device(text)
    if not value.isascii() or not value.isdigit() or len(value) > 5 or not _weighs(int(value)):
        raise ValueError(f"invalid weight for device: {text}")
    return path, int(value)


def _weighs(number: int) -> bool:
    return number == 0 or _LIGHTEST <= number <= _HEAVIEST


def device_rate(text: str) -> tuple[str, int]:
    """`/dev/sda:1mb`, bytes in a second."""
    path, value = _of_device(text)
    try:
        return path, read_size(value)
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def device_count(text: str) -> tuple[str, int]:
    """`/dev/sda:1000`, operations in a second."""
    path, value = _of_device(text)
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return path, int(value)


def _of_device(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not value or ":" in value:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def detach_keys(text: str) -> str:
    """`ctrl-p,ctrl-q`: letters, DEL, or ctrl- and one of a-z @ ^ [ \\ ] _ ."""
    for key in text.split(",") if text else ():
        name = key.removeprefix("ctrl-")
        known = name in "abcdefghijklmnopqrstuvwxyz@^[]\\_" if key != name else name.isascii()
        if key != "DEL" and (len(name) != 1 or not known):
            raise ValueError(f"Unknown character: '{key}'")
    return text


def restart(text: str) -> str:
    """`no`, `always`, `unless-stopped` or `on-failure[:COUNT]`."""
    from ..grammars.restart import parse_restart

    parse_restart(text)
    return text


def _within(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        found = whole(text)
        if not low <= found <= high:
            raise ValueError(f"{found} is not in the range {low} to {high}")
        return found

    return read


def _of(*known: str, container: bool = False, what: str = "") -> Callable[[str], str]:
    """One of the words, or with `container` also `container:NAME`; `what` is said of others."""

    def read(text: str) -> str:
        named = container and text.startswith("container:") and len(text) > len("container:")
        if text not in known and not named:
            more = ", container:NAME" if container else ""
            said = f"invalid {what} mode, " if what else ""
            raise ValueError(f"{said}expected one of {', '.join(filter(None, known))}{more}")
        return text

    return read


def userns(text: str) -> str:
    """podman's words beside docker's host; what follows a colon is read with the rest of a container."""
    kind, colon, words = text.partition(":")
    if kind not in ("", "host", "auto", "keep-id", "nomap") or (
        colon and (kind in ("", "host", "nomap") or not words)
    ):
        raise ValueError(
            "invalid user namespace mode, expected one of host, auto[:size=COUNT], keep-id[:uid=UID,gid=GID]"
        )
    return text


READERS: dict[str, Callable[[str], Any]] = {
    "ulimit": ulimit, "attach": attach, "expose": expose, "publish": publish, "address": address,
    "host": host_entry, "mac": mac, "network": network,
    "search": search_domain, "duration": health_time, "pair": pair, "device-rule": device_rule,
    "cpus": cpus, "swap": swap, "weight": weight, "device-weight": device_weight,
    "device-rate": device_rate, "device-count": device_count, "detach-keys": detach_keys,
    "oom-score": _within(-1000, 1000),
    "pid": _of("", "host", container=True, what="PID"),
    "ipc": _of("", "host", "private", "shareable", "none", container=True, what="IPC"),
    "uts": _of("", "host", what="UTS"), "cgroupns": _of("", "host", "private", what="cgroup"),
    "userns": userns,
    "label": label, "cache": cache, "isolation": _of("", "default"), "restart": restart,
}  # fmt: skip
"""By the kind of an option."""
