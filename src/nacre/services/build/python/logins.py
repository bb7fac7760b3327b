"""Who the user is at an index, and what is sent to say it."""

from __future__ import annotations

import base64
import os
from contextlib import suppress

from ....grammars.python.pipconfig import bare, user_in, user_of_variables
from ....words.errors import UsageError
from ....words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import netrc
    from collections.abc import Sequence

    from ..projects import PackageIndexes

_PATIENCE = 120
"""Seconds for a program that may ask its user."""


class IndexSource(Value):
    """An index by its URL, or the path of a folder; `name` is how a project calls it, "" for nothing."""

    url: str
    name: str = ""


class IndexLogins:
    """Who the user is at an index: in its URL, in a variable of uv's, or in a netrc file."""

    def __init__(self, sources: Sequence[IndexSource], indexes: PackageIndexes) -> None:
        """Raises UsageError for a netrc that is damaged."""
        variables = dict(indexes.variables)
        self._known: dict[str, tuple[str, str]] = {}
        self._urls: dict[str, str] = {}
        self._told: dict[tuple[str, str], str] = {}
        self._keyring = indexes.keyring
        self._netrc = _parsed(indexes.netrc_data) if indexes.netrc_data else _read_netrc(indexes.netrc)
        for source in sources:
            if found := user_in(source.url) or user_of_variables(source.name, variables):
                from urllib.parse import urlsplit

                self._known.setdefault(urlsplit(bare(source.url)).netloc, found)
                self._urls.setdefault(urlsplit(bare(source.url)).netloc, bare(source.url))

    def headers(self, url: str) -> dict[str, str]:
        """What is sent to say it: to its host and port alone."""
        from urllib.parse import urlsplit

        parts = urlsplit(url)
        found = user_in(url) or self._known.get(parts.netloc) or self._of_netrc(parts.hostname or "")
        if not found:
            return {}
        if not found[1] and self._keyring:
            found = found[0], self._of_keyring(parts.netloc, found[0])
        pair = base64.b64encode(":".join(found).encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def _of_keyring(self, netloc: str, user: str) -> str:
        """The password that the program has for the URL of the index, else for its host, "" for none."""
        key = netloc, user
        if key not in self._told:
            services = dict.fromkeys((self._urls.get(netloc, netloc), netloc))
            answers = (_asked(self._keyring, service, user) for service in services)
            self._told[key] = next(filter(None, answers), "")
        return self._told[key]

    def _of_netrc(self, host: str) -> tuple[str, str] | None:
        row = self._netrc.hosts.get(host) if self._netrc else None
        return (str(row[0]), str(row[2] or "")) if row else None


def _parsed(data: bytes) -> netrc.netrc | None:
    """A netrc that is in no file."""
    with open(os.memfd_create("netrc"), "w+b", buffering=0) as file:
        file.write(data)
        return _read_netrc(f"/proc/self/fd/{file.fileno()}", "the secret netrc")


def _read_netrc(path: str, name: str = "") -> netrc.netrc | None:
    if not path or not os.path.isfile(path):
        return None
    import netrc

    try:
        return netrc.netrc(path)
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError) as error:
        text = str(error).replace(path, name or path)
        raise UsageError(f"{name or path} cannot be read: {text}") from None


def _asked(program: str, service: str, user: str) -> str:
    """What `keyring get SERVICE USER` prints; "" where it fails, as pip takes it."""
    from subprocess import DEVNULL, SubprocessError, run

    if user.startswith("-") or service.startswith("-"):
        return ""
    with suppress(OSError, SubprocessError, UnicodeDecodeError):
        done = run(
            [program, "get", service, user],
            stdin=DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        return done.stdout.decode().rstrip("\r\n") if not done.returncode else ""
    return ""
