"""The list of `nacre mirror`.

[[mirror]]
from = "docker.io/library/debian"              a repository of a registry
to = "registry.example/mirror/debian"          another one, or "oci:FOLDER"
include = ["bookworm*", "12"]                  tags by patterns (* ? [a-z]); without it, all
exclude = ["*-slim"]
platform = "linux/amd64"                       without it, all of an index
referrers = true                               also signatures, SBOMs and other referrers
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from ...words.errors import NacreError, UsageError
from ...words.oci import Platform
from ...words.reference import Reference
from ...words.value import Value
from .schema import Wrong, word, yes
from .toml import TomlSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .schema import Reader

_MAX_ENTRIES = 1000


class MirrorEntry(Value):
    """What one table of the list says. `source` has no tag that counts; `target` is a place as written."""

    source: Reference
    target: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    platform: Platform | None = None
    referrers: bool = False

    def wants(self, tag: str) -> bool:
        """Whether the patterns let a tag through."""
        taken = not self.include or any(fnmatchcase(tag, pattern) for pattern in self.include)
        return taken and not any(fnmatchcase(tag, pattern) for pattern in self.exclude)


def _repository(value: object) -> Reference:
    text = word(value).removeprefix("docker://")
    try:
        reference = Reference.parse(text)
    except NacreError:
        raise Wrong('a repository like "docker.io/library/debian"') from None
    if reference.digest or text.rpartition("/")[2].count(":"):
        raise Wrong("a repository without a tag; choose tags with include")
    return reference


def _target(value: object) -> str:
    text = word(value)
    if text.startswith("oci:") and len(text) > 4:
        return text
    return _repository(text).name


def _patterns(value: object) -> tuple[str, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise Wrong('a list of patterns like ["1.*", "latest"]')
    return tuple(items)


def _platform(value: object) -> Platform:
    try:
        return Platform.parse(word(value))
    except NacreError:
        raise Wrong('a platform like "linux/arm64"') from None


_KEYS: Mapping[str, Reader] = {
    "from": _repository, "to": _target, "include": _patterns, "exclude": _patterns, "platform": _platform,
    "referrers": yes,
}  # fmt: skip


def parse_mirrors(text: str, file: str) -> tuple[MirrorEntry, ...]:
    """The entries in order. Raises UsageError with `file:line`."""
    source = TomlSource(text, file)
    tables = source.table.pop("mirror", [])
    if source.table:
        key = next(iter(source.table))
        raise source.error((key,), f"unknown key {key!r}", "each repository is a table [[mirror]]")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise source.error(
            ("mirror",), "mirror must be a list of tables", "write [[mirror]] with two brackets"
        )
    if not 0 < len(tables) <= _MAX_ENTRIES:
        raise UsageError(f"{file}: {len(tables)} repositories to mirror; 1 to {_MAX_ENTRIES} are allowed")
    return tuple(_entry(source, table) for table in tables)


def _entry(source: TomlSource, table: Mapping[str, Any]) -> MirrorEntry:
    said = source.read(table, ("mirror",), _KEYS)
    for key in ("from", "to"):
        if key not in said:
            raise source.error(("mirror",), f"a [[mirror]] lacks {key!r}")
    return MirrorEntry(said.pop("from"), said.pop("to"), **said)
