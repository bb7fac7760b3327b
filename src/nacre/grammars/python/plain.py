"""Requirements, versions and file names that are so plain that they can be read without `packaging`.

    pin     = NAME "==" VERSION
    VERSION = NUMBER { "." NUMBER }, without zeros before a number
    wheel   = NAME "-" VERSION [ "-" BUILD ] "-" PYTHONS "-" ABIS "-" PLATFORMS ".whl"

Whatever else is permitted is None here, and left to the library; a test compares the two. Loading that takes
longer than a small wheel takes to become a layer.

Source: PyPA, "Version specifiers", "Binary distribution format" and "Platform compatibility tags".
"""

from __future__ import annotations

from ...words.value import Value
from .names import canonical

_MOST_TAGS = 1000


class WheelName(Value):
    """The file name of a wheel: the package, as `canonical` spells it, its version and all its tags."""

    name: str
    version: str
    tags: tuple[str, ...]


def is_version(text: str) -> bool:
    """Whether a version is numbers alone, each as it is usually written."""
    return text.isascii() and all(
        part.isdecimal() and (part == "0" or part[0] != "0") for part in text.split(".")
    )


def pin(text: str) -> tuple[str, str] | None:
    """The package and the version that a requirement pins it to."""
    name, _, version = text.partition("==")
    name, version = name.rstrip(" "), version.strip(" ")
    if not _is_name(name.replace("-", "_")) or not is_version(version):
        return None
    return canonical(name), version


def _is_name(name: str) -> bool:
    ends = name[:1].isalnum() and name[-1:].isalnum()
    return name.isascii() and ends and name.replace("_", "").replace(".", "").isalnum()


def wheel_name(file: str) -> WheelName | None:
    """What a file name says of a wheel."""
    parts = file.removesuffix(".whl").split("-")
    if not file.endswith(".whl") or not file.isascii() or len(parts) not in (5, 6):
        return None
    name, version, build = parts[0], parts[1], parts[2:-3]
    if not _is_name(name) or "__" in name or not is_version(version):
        return None
    tags = _tags(*parts[-3:])
    if not tags or not all(one[:1].isdecimal() for one in build):
        return None
    return WheelName(canonical(name), version, tags)


def _tags(pythons: str, abis: str, platforms: str) -> tuple[str, ...]:
    """All that a compressed set stands for; nothing for what is none, or too many."""
    sets = [pythons.lower().split("."), abis.lower().split("."), platforms.lower().split(".")]
    if any("" in one for one in sets) or not all(one.isidentifier() for one in sets[0]):
        return ()
    if len(sets[0]) * len(sets[1]) * len(sets[2]) > _MOST_TAGS:
        return ()
    return tuple(
        f"{python}-{abi}-{platform}" for python in sets[0] for abi in sets[1] for platform in sets[2]
    )


def is_release(text: str, version: str) -> bool | None:
    """Whether a version, written in any way, is what `==` with a plain one means; None if that is not plain.

    One with letters after its numbers is a pre-release, a post-release or one in development: never the same.
    """
    rest = text.lstrip("0123456789.")
    if not text.isascii() or not text[:1].isdecimal() or "+" in rest or "!" in rest:
        return None
    if rest:
        return False if rest[0].isalpha() else None
    return _numbers(text) == _numbers(version)


def _numbers(version: str) -> list[int]:
    """A release has as many zeros at its end as it likes."""
    numbers = [int(part or 0) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
