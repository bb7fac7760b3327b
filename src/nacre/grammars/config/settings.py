"""What is said of registries, and what follows from it for one name.

    name of a section = host[:port] [ "/" path ]  |  "*." domain

The longest section that a name lies in counts for `location`, `mirrors` and `blocked`; the section of
the host alone counts for how that host is spoken to (TLS, proxy, rate). A later source of settings says
more than an earlier one: fields that it leaves unsaid stay as they were.
"""

from __future__ import annotations

from ...words.errors import RegistryError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

UNSAID: Any = None
ALWAYS = "all"
DIGEST_ONLY = "digest-only"
TAG_ONLY = "tag-only"


class MirrorSettings(Value):
    """A place to ask before the registry itself: `host[:port][/path]`, in plain HTTP if `plain`.

    `asked` says for what: all, digest-only or tag-only (registries.conf, `pull-from-mirror`).
    """

    location: str
    plain: bool = False
    insecure: bool = False
    asked: str = ALWAYS

    @classmethod
    def parse(cls, text: str) -> MirrorSettings:
        """From `host[:port][/path]` or a URL."""
        plain = text.startswith("http://")
        return cls(text.removeprefix("http://").removeprefix("https://").strip("/"), plain)


class RegistrySection(Value):
    """What one source says of a registry, a part of one, or a domain; None is unsaid.

    `where` is `file:line` (or the name of a variable) for messages; `rate` is in bytes a second.
    """

    name: str
    where: str = ""
    location: str = UNSAID
    mirrors: tuple[MirrorSettings, ...] = UNSAID
    blocked: bool = UNSAID
    insecure: bool = UNSAID
    plain_http: bool = UNSAID
    ca: str = UNSAID
    cert: str = UNSAID
    key: str = UNSAID
    proxy: str = UNSAID
    rate: int = UNSAID

    def over(self, earlier: RegistrySection) -> RegistrySection:
        """This section with what `earlier` says besides."""
        said = {name: getattr(self, name) for name in self._fields}
        return earlier.replace(**{name: value for name, value in said.items() if value is not None})


class RegistryTarget(Value):
    """A repository at a host: where a request really goes."""

    host: str
    repository: str
    asked: str = ALWAYS


class RegistryRoute(Value):
    """Where a name is looked for: the mirrors in order, then `origin`, which alone is written to."""

    origin: RegistryTarget
    mirrors: tuple[RegistryTarget, ...] = ()


class HostSettings(Value):
    """How a host is spoken to. `proxy` is a URL, "direct" for none, or "" for what is usual."""

    insecure: bool = False
    plain: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    proxy: str = ""
    rate: int = 0


class Settings(Value):
    """All of it. Numbers are None where nothing is said; `rate` is in bytes a second, times in seconds."""

    sections: tuple[RegistrySection, ...] = ()
    networks: tuple[str, ...] = ()
    concurrency: int = UNSAID
    ranges: int = UNSAID
    rate: int = UNSAID
    retries: int = UNSAID
    connect_timeout: float = UNSAID
    stall_timeout: float = UNSAID
    proxy: str = UNSAID
    no_proxy: str = UNSAID
    ca: str = UNSAID
    build_cache: int = UNSAID
    build_advice: bool = UNSAID
    lazy: bool = UNSAID

    def over(self, earlier: Settings) -> Settings:
        """These settings with what `earlier` says besides, section by section."""
        scalars = [name for name in self._fields if name not in ("sections", "networks")]
        said = {name: getattr(self, name) for name in scalars if getattr(self, name) is not None}
        sections = {section.name: section for section in earlier.sections}
        for section in self.sections:
            before = sections.get(section.name)
            sections[section.name] = section.over(before) if before else section
        networks = tuple(dict.fromkeys((*earlier.networks, *self.networks)))
        return earlier.replace(**said, sections=tuple(sections.values()), networks=networks)

    def route(self, registry: str, repository: str) -> RegistryRoute:
        """Where the repository is looked for. Raises RegistryError when its section is blocked."""
        section = self._longest(f"{registry}/{repository}")
        if section is None:
            return RegistryRoute(RegistryTarget(registry, repository))
        if section.blocked:
            raise RegistryError(
                f"{registry}/{repository} is blocked by {section.where or 'the configuration'}",
                hint="use another registry, or change the configuration",
            )
        rest = _rest(section.name, f"{registry}/{repository}")
        origin = _target(section.location, rest) if section.location else RegistryTarget(registry, repository)
        mirrors = tuple(_target(mirror.location, rest, mirror.asked) for mirror in section.mirrors or ())
        return RegistryRoute(origin, tuple(mirror for mirror in mirrors if mirror.host and mirror != origin))

    def host(self, name: str) -> HostSettings:
        """How `host[:port]` is spoken to."""
        section = self._longest(name) or RegistrySection(name)
        mirror = next((m for m in self._mirrors() if m.location.partition("/")[0] == name), None)
        insecure = section.insecure or (mirror is not None and mirror.insecure) or self._in_network(name)
        plain = section.plain_http or (mirror is not None and mirror.plain)
        return HostSettings(
            bool(insecure), bool(plain), section.ca or "", section.cert or "", section.key or "",
            section.proxy or "", section.rate or 0,
        )  # fmt: skip

    def _longest(self, name: str) -> RegistrySection | None:
        found = [section for section in self.sections if _matches(section.name, name)]
        return max(
            found, key=lambda section: (not section.name.startswith("*."), len(section.name)), default=None
        )

    def _mirrors(self) -> Iterable[MirrorSettings]:
        return (mirror for section in self.sections for mirror in section.mirrors or ())

    def _in_network(self, name: str) -> bool:
        return bool(self.networks) and in_networks(name, self.networks)


def _matches(section: str, name: str) -> bool:
    if section.startswith("*."):
        return name.partition("/")[0].partition(":")[0].endswith(section[1:])
    return name == section or name.startswith(section + "/")


def _rest(section: str, name: str) -> str:
    """The part of a name that its section leaves open."""
    return name.partition("/")[2] if section.startswith("*.") else name[len(section) + 1 :]


def _target(location: str, rest: str, asked: str = ALWAYS) -> RegistryTarget:
    host, _, path = location.partition("/")
    return RegistryTarget(host, "/".join(part for part in (path, rest) if part), asked)


def in_networks(name: str, networks: Iterable[str]) -> bool:
    """Is the host an address inside one of the CIDR networks (docker's `insecure-registries`)?"""
    import ipaddress

    try:
        address = ipaddress.ip_address(name.rpartition(":")[0] if name.count(":") == 1 else name.strip("[]"))
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
