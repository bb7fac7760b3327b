"""Who may do what at a registry: challenges, credentials, tokens and scopes, without I/O.

    WWW-Authenticate = #challenge                                              RFC 9110, 11.6.1
    challenge        = scheme [ 1*SP ( token68 / #( name "=" value ) ) ]
    scope            = "repository" ":" name ":" action *( "," action )         distribution, auth/scope

A registry answers 401 with a challenge. `Basic` is answered with a name and a password; `Bearer`
names a token server (`realm`), which is asked for a token for the scopes wanted.
"""

from __future__ import annotations

import base64
from urllib.parse import urlencode

from ...words.errors import RegistryError
from ...words.oci import decode_json
from ...words.value import Value
from .fields import Scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOKEN = 64 * 1024
_LIFETIME = 60
_LONGEST = 24 * 3600


class Challenge(Value):
    """One way to authenticate: the scheme in lower case and its parameters, sorted."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str:
        """A parameter, "" if absent."""
        return dict(self.parameters).get(name, "")

    def encode(self) -> str:
        """As a `WWW-Authenticate` field."""
        shown = ",".join(f'{name}="{_escape(value)}"' for name, value in self.parameters)
        return f"{self.scheme.capitalize()} {shown}".rstrip()


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def parse_challenges(field: str) -> tuple[Challenge, ...]:
    """The challenges of a `WWW-Authenticate` field; what cannot be read is passed over."""
    scan, found = Scanner(field), []
    while not scan.done:
        scan.skip(" \t,")
        scheme = scan.token()
        if scheme:
            found.append(Challenge(scheme.lower(), tuple(sorted(_parameters(scan).items()))))
        else:
            scan.skip_to(",")
    return tuple(found)


def _parameters(scan: Scanner) -> dict[str, str]:
    """Parameters up to the next challenge: a token after a comma that no "=" follows begins one."""
    found: dict[str, str] = {}
    scan.skip()
    while not scan.done:
        start = scan.at
        name = scan.token().lower()
        scan.skip()
        if not name or not scan.take("="):
            scan.at = start
            break
        scan.skip()
        found[name] = scan.value()
        scan.skip(" \t,")
    if not found:
        scan.skip_to(",")
    return found


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge to answer: bearer before basic, as docker does; None if neither is offered."""
    known = {challenge.scheme: challenge for challenge in reversed(list(challenges))}
    return known.get("bearer") or known.get("basic")


class Credentials(Value):
    """What is known about a user at a registry; false when nothing is.

    `identity_token` is an OAuth2 refresh token, `registry_token` a ready bearer token. `problem` says
    why nothing is known although something should be (a credential helper that is not installed).
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    problem: str = ""

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"

    def basic(self) -> str:
        """The `Authorization` field for `Basic` (RFC 7617), "" without a name."""
        if not self.username:
            return ""
        pair = f"{self.username}:{self.password}".encode("utf-8", "surrogateescape")
        return "Basic " + base64.b64encode(pair).decode()


ANONYMOUS = Credentials()


class BearerToken(Value):
    """A bearer token and how many seconds it is good for."""

    text: str
    lifetime: float = _LIFETIME

    def __repr__(self) -> str:
        return f"Token(…, lifetime={self.lifetime})"

    def header(self) -> str:
        """The value of the `Authorization` header."""
        return "Bearer " + self.text


def parse_token(data: bytes) -> BearerToken:
    """The answer of a token server: `token` or `access_token`, and `expires_in` seconds (default 60).

    Raises InvalidDocument for what is no JSON, RegistryError for JSON without a usable token.
    """
    fields = decode_json(data, "answer of the token server")
    text = (fields.get("token") or fields.get("access_token")) if isinstance(fields, dict) else None
    if not isinstance(text, str) or not text or len(text) > MAX_TOKEN or not _visible(text):
        raise RegistryError("the token server sent no usable token")
    lifetime = fields.get("expires_in")
    good = isinstance(lifetime, int | float) and not isinstance(lifetime, bool) and lifetime >= _LIFETIME
    return BearerToken(text, min(lifetime, _LONGEST) if good else _LIFETIME)


def _visible(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def token_query(challenge: Challenge, scopes: Iterable[str], credentials: Credentials) -> str:
    """The query of `GET realm` (distribution, auth/token)."""
    values = [("service", challenge.get("service"))] if challenge.get("service") else []
    values += [("scope", scope) for scope in sorted(scopes)]
    if credentials.username:
        values.append(("account", credentials.username))
    return urlencode(values, safe=":/,", errors="surrogateescape")


def token_form(challenge: Challenge, scopes: Iterable[str], credentials: Credentials, client: str) -> bytes:
    """The form of `POST realm` with a refresh token (distribution, auth/oauth)."""
    return urlencode({
        "grant_type": "refresh_token",
        "service": challenge.get("service"),
        "client_id": client,
        "scope": " ".join(sorted(scopes)),
        "refresh_token": credentials.identity_token,
    }).encode()  # fmt: skip


def repository_scope(repository: str, *actions: str) -> str:
    """The scope of a token as `repository:NAME:pull,push`."""
    return f"repository:{repository}:{','.join(actions)}"


CATALOG_SCOPE = "registry:catalog:*"
