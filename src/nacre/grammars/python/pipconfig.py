"""Where packages come from, as pip and uv are told: pip.conf and variables."""

from __future__ import annotations

import os

from ...words.errors import UsageError
from ...words.lines import lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

USUAL = "https://pypi.org/simple"
_SECTIONS = ("global", "install")
_YES = ("1", "true", "yes", "on")
_SYSTEM = ("/etc/ssl/", "/etc/pki/")
"""Certificates of the system count anyway."""
_UNREAD = ("trusted-host", "cert", "client-cert", "proxy")


def config_files(environment: Mapping[str, str], home: str) -> list[str]:
    """The paths of pip.conf, the most important last."""
    named = environment.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    own = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return ["/etc/pip.conf", f"{home}/.pip/pip.conf", f"{own}/pip/pip.conf", *([named] if named else [])]


def indexes_of(
    environment: Mapping[str, str], texts: Sequence[tuple[str, str]], warn: Callable[[str], object]
) -> list[str]:
    """The URLs of indexes, the first asked first; [] if nothing was said.

    `texts` are (path, content) of the files. Raises UsageError for a file that cannot be read.
    """
    said: dict[str, str] = {}
    for path, text in texts:
        said |= _of_file(path, text, warn)
    for name in ("index-url", "extra-index-url", "find-links", "no-index"):
        said[name] = environment.get(f"PIP_{name.upper().replace('-', '_')}") or said.get(name, "")
    main = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or said["index-url"]
    more = environment.get("UV_INDEX") or environment.get("UV_EXTRA_INDEX_URL") or said["extra-index-url"]
    extra = [url.partition("=")[2] if "=" in url.partition("://")[0] else url for url in more.split()]
    links = [link for link in said["find-links"].split() if not link.startswith(("http://", "https://"))]
    if said["no-index"].lower() in _YES:
        return links
    return list(dict.fromkeys([*links, *extra, main or USUAL])) if main or extra or links else []


def _of_file(path: str, text: str, warn: Callable[[str], object]) -> dict[str, str]:
    import configparser

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UsageError(f"{path} cannot be read: {lines(str(error))[0]}") from None
    found: dict[str, str] = {}
    for section in filter(parser.has_section, _SECTIONS):
        found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    if unread := [key for key in _UNREAD if found.get(key) and not found[key].startswith(_SYSTEM)]:
        warn(
            f"WARNING: {path}: {', '.join(unread)} ignored: certificates and proxies are those of config.toml"
        )
    return found


def bare(url: str) -> str:
    """A URL without user and password."""
    if _is_bare(url):
        return url
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_bare(url: str) -> bool:
    """Whether there is surely nothing to take away; most URLs are so, and then no parser is loaded."""
    is_usual = url.startswith(("http://", "https://")) or (url.startswith("/") and not url.startswith("//"))
    return is_usual and url.isascii() and url.isprintable() and not {"@", "#", "?", " "} & set(url)


def user_in(url: str) -> tuple[str, str] | None:
    """User and password in a URL."""
    if "@" not in url:
        return None
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def user_of_variables(name: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password that uv or Poetry is told by variables for the index `name`."""
    word = _word(name)
    for start in ("UV_INDEX", "POETRY_HTTP_BASIC") if word else ():
        user, password = (variables.get(f"{start}_{word}_{end}", "") for end in ("USERNAME", "PASSWORD"))
        if user or password:
            return user, password
    return None


def _word(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name.upper())


def poetry_logins(text: str, path: str) -> dict[str, str]:
    """The variables that say the same as an auth.toml of Poetry. Raises UsageError."""
    from ..toml import read_toml

    try:
        table = read_toml(text).get("http-basic", {})
        return {
            f"POETRY_HTTP_BASIC_{_word(name)}_{key.upper()}": str(row.get(key) or "")
            for name, row in table.items()
            for key in ("username", "password")
        }
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} cannot be read: {lines(str(error))[0]}") from None


def keyring_provider(environment: Mapping[str, str], texts: Sequence[tuple[str, str]]) -> str:
    """What pip or uv is told of the keyring: auto, disabled, import, subprocess."""
    said = ""
    for path, text in texts:
        if "keyring" in text.lower():
            said = _of_file(path, text, lambda _line: None).get("keyring-provider", said)
    return environment.get("PIP_KEYRING_PROVIDER") or environment.get("UV_KEYRING_PROVIDER") or said or "auto"
