"""The keys of config.toml and of the variables, and how their values are read.

    top     concurrency ranges rate retries connect-timeout stall-timeout proxy no-proxy ca build-cache
            build-advice lazy
    section location mirrors blocked insecure plain-http ca cert key proxy rate

    size    = number [ "k" | "M" | "G" | "T" ] [ "i" ] [ "B" ]        bytes, as a number or a string
    seconds = number [ "ms" | "s" | "m" ]

A key of the top is also the variable `NACRE_` + KEY; one of a section is `NACRE_REGISTRY_` + KEY with
`host=value` pairs, separated by semicolons.
"""

from __future__ import annotations

from ...words.errors import TooLarge, UsageError
from .settings import MirrorSettings, RegistrySection, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    Reader = Callable[[object], object]

_SIZES = {
    "": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4,
    "ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4,
}  # fmt: skip
_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}
MAX_CONFIG = 1024 * 1024
"""Bytes of the longest file that is read."""


def text_of(data: bytes, file: str) -> str:
    """The text of a file, of which MAX_CONFIG + 1 bytes were read. Raises TooLarge, UsageError."""
    if len(data) > MAX_CONFIG:
        raise TooLarge(f"{file} has more than the {MAX_CONFIG} bytes allowed here")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}:{line}: not UTF-8") from None


class Wrong(ValueError):
    """A value of the wrong kind; its text says what was expected."""


def _number(text: str) -> tuple[float, str]:
    """`12.5 MB` as number and unit."""
    stripped = text.strip()
    end = next((at for at, char in enumerate(stripped) if char not in "0123456789."), len(stripped))
    try:
        return float(stripped[:end]), stripped[end:].strip()
    except ValueError:
        raise Wrong("") from None


def size(value: object) -> int:
    """A size in bytes, from a number or text like "20MB". Raises ValueError."""
    expected = 'a number of bytes like 500000 or "20MB"'
    if type(value) is int and value >= 0:
        return value
    try:
        number, unit = _number(value if isinstance(value, str) else "")
        return int(number * _SIZES[unit.lower().removesuffix("/s").removesuffix("b")])
    except (Wrong, KeyError):
        raise Wrong(expected) from None


def seconds(value: object) -> float:
    """A time, from 1 ms to a day."""
    expected = 'seconds like 15 or "500ms"'
    if isinstance(value, str):
        try:
            number, unit = _number(value)
            value = number * _SECONDS[unit]
        except (Wrong, KeyError):
            raise Wrong(expected) from None
    if type(value) not in (int, float) or not 0.001 <= value <= 86400:  # type: ignore[operator]
        raise Wrong(expected)
    return float(value)  # type: ignore[arg-type]


def count(value: object) -> int:
    """A number of things at once."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:9])
    if type(value) is not int or not 1 <= value <= 64:
        raise Wrong("a whole number from 1 to 64")
    return value


def yes(value: object) -> bool:
    """true or false; as a word in a variable."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def word(value: object) -> str:
    """A string without control characters. Raises ValueError."""
    if not isinstance(value, str) or not value.isprintable():
        raise Wrong("a string")
    return value


def place(value: object) -> str:
    """`host[:port][/path]`, perhaps as a URL."""
    text = word(value)
    host = text.removeprefix("https://").removeprefix("http://").strip("/")
    if not host or any(char in host for char in ' @?#"'):
        raise Wrong('a place like "mirror.example:5000" or "https://mirror.example/hub"')
    return text


def places(value: object) -> tuple[MirrorSettings, ...]:
    """Mirrors, the first one first; in a variable separated by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise Wrong('a list of places like ["mirror.example:5000"]')
    return tuple(
        MirrorSettings.parse(place(item.strip() if isinstance(item, str) else item)) for item in items
    )


def _bare(value: object) -> str:
    return place(value).removeprefix("https://").removeprefix("http://").strip("/")


TOP: Mapping[str, Reader] = {
    "concurrency": count, "ranges": count, "rate": size, "retries": count, "connect-timeout": seconds,
    "stall-timeout": seconds, "proxy": word, "no-proxy": word, "ca": word,
    "build-cache": size, "build-advice": yes, "lazy": yes,
}  # fmt: skip
SECTION: Mapping[str, Reader] = {
    "location": _bare, "mirrors": places, "blocked": yes, "insecure": yes, "plain-http": yes, "ca": word,
    "cert": word, "key": word, "proxy": word, "rate": size,
}  # fmt: skip
HOST_KEYS = ("insecure", "plain-http", "ca", "cert", "key", "proxy", "rate")
"""Keys of a section that are about a host, not about a part of it."""


def field(key: str) -> str:
    """The name of a key in the values."""
    return key.replace("-", "_")


def section_name(text: str) -> str:
    """The name of a section. Raises Wrong."""
    if text.startswith("*.") and len(text) > 2 and "/" not in text:
        return text
    name = _bare(text)
    return {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}.get(name, name)


def from_variables(environment: Mapping[str, str]) -> Settings:
    """What the variables `NACRE_…` say. Raises UsageError naming the variable."""
    said: dict[str, Any] = {}
    for key, read in TOP.items():
        name = "NACRE_" + field(key).upper()
        if environment.get(name):
            said[field(key)] = _of_variable(name, environment[name], read)
    found = Settings(**said)
    for section in _variable_sections(environment):
        found = Settings(sections=(section,)).over(found)
    return found


def _variable_sections(environment: Mapping[str, str]) -> Iterable[RegistrySection]:
    for key, read in SECTION.items():
        name = "NACRE_REGISTRY_" + field(key).upper()
        for pair in filter(None, (part.strip() for part in environment.get(name, "").split(";"))):
            host, equals, value = pair.partition("=")
            if not equals:
                raise UsageError(f"{name}: {pair!r} is not a registry=value pair", hint="expected HOST=VALUE")
            said = {field(key): _of_variable(name, value.strip(), read)}
            yield RegistrySection(
                _of_variable(name, host.strip(), lambda text: section_name(word(text))), name, **said
            )


def _of_variable(name: str, value: str, read: Reader) -> Any:
    try:
        return read(value)
    except Wrong as wrong:
        raise UsageError(f"{name} is {value[:100]!r}, expected {wrong}") from None
