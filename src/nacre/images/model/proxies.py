"""The proxy variables of containers and builds: five names, each in two spellings.

Programs disagree on the spelling that they read: curl takes `http_proxy` alone, others `HTTP_PROXY` alone.
So whoever gives one spelling gives both, as docker and BuildKit do.

    config.json = { "proxies": { "default": { "httpProxy": URL, … } } }

Source: docker's manual, "Use a proxy server with the Docker CLI"; Dockerfile reference, "Predefined ARGs".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
"""Arguments every RUN gets when they are given, without a declaration and without part in the cache key."""

_FIELDS = ("httpProxy", "httpsProxy", "ftpProxy", "noProxy", "allProxy")


def proxy_variables(*sources: Mapping[str, str]) -> dict[str, str]:
    """The variables that `sources` say together, in both spellings; a later source wins over an earlier.

    A source that gives both spellings of a name keeps each. An empty value unsets what came before.
    """
    found: dict[str, str] = {}
    for source in sources:
        for name in PROXIES:
            found |= _spellings(name, source)
    return {name: value for name, value in found.items() if value}


def _spellings(name: str, source: Mapping[str, str]) -> dict[str, str]:
    given = {key: value for key, value in source.items() if key.lower() == name}
    if not given:
        return {}
    other = next(reversed(given.values()))
    return {spelling: given.get(spelling, other) for spelling in (name, name.upper())}


def docker_proxies(fields: Mapping[str, Any]) -> dict[str, str]:
    """The proxies of docker's config.json, by their lower-case names; what is no text there is left out."""
    proxies = fields.get("proxies")
    default = proxies.get("default") if isinstance(proxies, dict) else None
    if not isinstance(default, dict):
        return {}
    values = ((name, default.get(field)) for name, field in zip(PROXIES, _FIELDS, strict=True))
    return {name: value for name, value in values if isinstance(value, str)}
