"""What other tools have been told already: containers' registries.conf (version 2), docker's daemon.json.

    [[registry]]  prefix location insecure blocked mirror-by-digest-only
    [[registry.mirror]]  location insecure pull-from-mirror         containers-registries.conf(5)
    { "registry-mirrors": [url…], "insecure-registries": [host[:port] | CIDR…] }     dockerd(8)

`unqualified-search-registries` and short-name aliases are passed over: here a name without a registry
is docker.io's, as with docker. Keys that are not known are another tool's business; a value of the
wrong kind under a known one is an error, for `blocked` must not be overlooked.
"""

from __future__ import annotations

import json

from ...words.errors import UsageError
from ...words.reference import DEFAULT_REGISTRY
from .schema import Wrong, place, section_name, yes
from .settings import ALWAYS, DIGEST_ONLY, TAG_ONLY, UNSAID, MirrorSettings, RegistrySection, Settings
from .toml import TomlSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_registries(text: str, file: str) -> Settings:
    """registries.conf, or one file of registries.conf.d. Raises UsageError with `file:line`."""
    source = TomlSource(text, file)
    entries = source.table.get("registry", [])
    if not isinstance(entries, list):
        return Settings()
    found = Settings()
    for entry in entries:
        if isinstance(entry, dict):
            for section in _registry(source, entry):
                found = Settings(sections=(section,)).over(found)
    return found


def _registry(source: TomlSource, entry: dict[str, Any]) -> list[RegistrySection]:
    """What one entry says of its prefix, and of the host where that lies."""
    try:
        location = section_name(str(entry.get("location") or entry.get("prefix") or ""))
        name = section_name(str(entry.get("prefix") or location))
        mirrors = tuple(_mirror(item, entry) for item in entry.get("mirror", ()) if isinstance(item, dict))
        blocked, insecure = yes(entry.get("blocked", False)), yes(entry.get("insecure", False))
    except Wrong as wrong:
        raise source.error(("registry",), f"a [[registry]] has a wrong value, expected {wrong}") from None
    moved = location if location != name and not name.startswith("*.") else UNSAID
    sections = [RegistrySection(name, source.file, moved, mirrors or UNSAID, blocked or UNSAID)]
    if insecure:
        sections.append(RegistrySection(location.partition("/")[0], source.file, insecure=True))
    return sections


def _mirror(item: dict[str, Any], entry: dict[str, Any]) -> MirrorSettings:
    asked = item.get("pull-from-mirror", DIGEST_ONLY if entry.get("mirror-by-digest-only") else ALWAYS)
    if asked not in (ALWAYS, DIGEST_ONLY, TAG_ONLY):
        raise Wrong("all, digest-only or tag-only")
    found = MirrorSettings.parse(place(item.get("location")))
    return found.replace(insecure=yes(item.get("insecure", False)), asked=asked)


def parse_daemon(text: str, file: str) -> Settings:
    """The mirrors and insecure registries of docker's daemon.json. Raises UsageError."""
    try:
        fields = json.loads(text) if text.strip() else {}
        if not isinstance(fields, dict):
            raise ValueError("expected an object")
        mirrors = tuple(MirrorSettings.parse(place(url)) for url in fields.get("registry-mirrors") or ())
        hosts = [str(name) for name in fields.get("insecure-registries") or ()]
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{file}: {error}", hint="docker rejects it as well") from None
    sections = [RegistrySection(DEFAULT_REGISTRY, file, mirrors=mirrors)] if mirrors else []
    sections += [RegistrySection(name, file, insecure=True) for name in hosts if not _is_network(name)]
    return Settings(sections=tuple(sections), networks=tuple(name for name in hosts if _is_network(name)))


def _is_network(text: str) -> bool:
    import ipaddress

    try:
        return "/" in text and bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False
