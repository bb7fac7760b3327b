"""Asks an LDAP server whether a password is right, and what it says of who has it.

    with filter    bind as bind-dn ─► search, one entry ─► bind as that entry, on another connection
    with user-dn   bind as that entry ─► read it

Referrals are not followed: they would send passwords elsewhere. A bind without a password succeeds at many
servers and proves nothing (RFC 4513, 5.1.2), so none is ever sent. Sources: RFC 4511, 4513, 4514, 4515.
"""

from __future__ import annotations

import ssl
import warnings
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from ....words.errors import Unavailable, Unsupported
from ....words.rules import ldap_address

try:
    with warnings.catch_warnings():  # it uses names of pyasn1 that are to go
        warnings.simplefilter("ignore", DeprecationWarning)
        import ldap3
        from ldap3.core.exceptions import LDAPExceptionError
        from ldap3.utils.dn import parse_dn
except ModuleNotFoundError:
    raise Unsupported("sign-in by LDAP needs ldap3", hint="pip install nacre-oci[registry]") from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ....words.rules import LdapRules

_SUCCESS, _SIZE_EXCEEDED = 0, 4
_REFUSED = {19, 32, 34, 48, 49, 50, 53}
"""Results by which a server refuses a bind; others say that it cannot answer."""
_SUBJECTS = "entryuuid", "objectguid", "ipauniqueid", "nsuniqueid"
"""Attributes that belong to an entry for ever, and to no later one of the same name."""


class LdapEntry(NamedTuple):
    """Somebody whose password is right. `groups` as `normal` writes them."""

    subject: str
    groups: frozenset[str]


class LdapResultError(Unavailable):
    """The server answers, but not what was asked. It may do so for one name and not for others."""


class LdapServer:
    """The one that `rules` name. Each question has connections of its own."""

    def __init__(self, rules: LdapRules) -> None:
        self._rules = rules

    def entry(self, name: str, password: str) -> LdapEntry | None:
        """Whose name and password these are; None for nobody's. Raises Unavailable, LdapResultError."""
        if not is_sendable(password):
            return None
        try:
            found = self._bound(name, password) if self._rules.user_dn else self._searched(name, password)
        except (LDAPExceptionError, OSError) as error:
            why = " ".join(str(error).split())[:300]
            raise Unavailable(f"{self._rules.url} cannot be asked: {why}") from error
        except (LookupError, TypeError, ValueError) as error:  # of ldap3, for what it cannot read
            raise self._result("its answer cannot be read") from error
        return self._read(found) if found else None

    def _bound(self, name: str, password: str) -> dict[str, Any] | None:
        dn = self._rules.user_dn.replace("{user}", escaped(name))
        with self._connection(dn, password) as connection:
            if not self._is_bound(connection):
                return None
            found = self._search(connection, dn, "(objectClass=*)", ldap3.BASE)
        return found[0] if len(found) == 1 else None

    def _searched(self, name: str, password: str) -> dict[str, Any] | None:
        rules = self._rules
        with self._connection(rules.bind_dn, rules.password) as connection:
            if not self._is_bound(connection):
                raise self._result("bind-dn with its password is refused")
            wanted = rules.filter.replace("{user}", escaped(name))
            found = self._search(connection, rules.base, wanted, ldap3.SUBTREE)
        if len(found) != 1 or not found[0]["dn"]:
            return None
        with self._connection(found[0]["dn"], password) as connection:
            return found[0] if self._is_bound(connection) else None

    def _search(self, connection: Any, base: str, wanted: str, scope: str) -> list[dict[str, Any]]:
        """The entries, none where there are more than two; those of other servers are not asked for."""
        asked = [self._rules.groups, *_SUBJECTS]
        limits = {"size_limit": 2, "time_limit": self._seconds, "dereference_aliases": ldap3.DEREF_NEVER}
        connection.search(base, wanted, scope, attributes=asked, **limits)
        code = connection.result["result"]
        if code == _SIZE_EXCEEDED:
            return []
        if code != _SUCCESS:
            raise self._result(f"a search gives {connection.result['description']}")
        return [each for each in connection.response or () if each["type"] == "searchResEntry"]

    @property
    def _seconds(self) -> int:
        return ceil(self._rules.timeout)

    @contextmanager
    def _connection(self, dn: str, password: str) -> Iterator[Any]:
        """One to bind, with TLS if there is to be any; the password goes as it is, in bytes."""
        scheme, host, port = ldap_address(self._rules.url)
        server = ldap3.Server(
            host, port, use_ssl=scheme == "ldaps", tls=_VerifyingTls(self._rules.certificates, host),
            get_info=ldap3.NONE, connect_timeout=self._seconds,
        )  # fmt: skip
        who = {"user": dn, "password": password.encode(), "authentication": ldap3.SIMPLE} if dn else {}
        connection = ldap3.Connection(
            server, **who, auto_referrals=False, check_names=False, read_only=True,
            receive_timeout=self._seconds,
        )  # fmt: skip
        try:
            connection.open(read_server_info=False)
            if self._rules.start_tls and not connection.start_tls(read_server_info=False):
                raise OSError("it does not begin TLS")
            yield connection
        finally:
            connection.strategy.close()
            if connection.socket is not None:  # which ldap3 forgets when TLS fails
                connection.socket.close()

    def _is_bound(self, connection: Any) -> bool:
        """Bind. Raises LdapResultError where the server says neither yes nor no."""
        connection.bind(read_server_info=False)
        code = connection.result["result"]
        if code != _SUCCESS and code not in _REFUSED:
            raise self._result(f"a bind gives {connection.result['description']}")
        return bool(code == _SUCCESS)

    def _result(self, why: str) -> LdapResultError:
        return LdapResultError(f"{self._rules.url} cannot tell who that is: {why}")

    def _read(self, entry: dict[str, Any]) -> LdapEntry:
        said = {name.lower(): values or [] for name, values in entry["raw_attributes"].items()}
        groups = (value.decode("utf-8", "replace") for value in said.get(self._rules.groups.lower(), ()))
        return LdapEntry(_subject(entry["dn"], said), frozenset(map(normal, groups)))


class _VerifyingTls(ldap3.Tls):  # type: ignore[misc]
    """TLS as everywhere else: OpenSSL compares the name, of which ldap3 has code of its own."""

    def __init__(self, certificates: str, host: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._certificates, self._host = certificates, host

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Make the socket of the connection one that is verified. Raises OSError."""
        context = ssl.create_default_context(cafile=self._certificates or None)
        connection.socket = context.wrap_socket(connection.socket, server_hostname=self._host)


def is_sendable(password: str) -> bool:
    """Can it prove something? An empty one cannot, nor one that a server may read as empty."""
    return "\0" not in password and any(char.isprintable() for char in password)


def escaped(name: str) -> str:
    """For a filter as for the name of an entry: all but letters and digits as their bytes."""
    return "".join(
        char if char.isascii() and char.isalnum() else "".join(f"\\{byte:02x}" for byte in char.encode())
        for char in name
    )


def normal(group: str) -> str:
    """The same text for all ways to write one name of an entry; what is none stays, in small letters."""
    try:
        parts = parse_dn(group, strip=True)
    except LDAPExceptionError:
        return group.casefold()
    return "".join(f"{name}={value}{joint}" for name, value, joint in parts).casefold()


def matching(names: Iterable[str], groups: frozenset[str]) -> set[str]:
    """Those of `names`, as the operator writes them, that are among `groups`."""
    return {name for name in names if normal(name) in groups}


def _subject(dn: str, said: Mapping[str, list[bytes]]) -> str:
    for name in _SUBJECTS:
        if values := said.get(name):
            return f"{name} {values[0].hex()}"
    return f"dn {normal(dn)}"
