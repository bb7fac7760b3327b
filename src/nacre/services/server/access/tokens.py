"""The token endpoint, `/token`: credentials for a token that lets one do what was asked for.

GET with Basic, or nothing, as docker's clients do; POST as OAuth 2 (`grant_type=password`), and to exchange
the token of a CI job. Sources: distribution, auth/token and auth/oauth; RFC 8693.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ....grammars.wire import JSON
from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import is_name
from ....stores.accounts.model import Role
from ....words.oci import encode_json
from ..answers import answer
from ..applications import answering
from ..bodies import Body
from ..clients import client_of
from .authorization import challenged
from .bearer import LIFETIME
from .identity import CATALOG, SERVICE, roles_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from ..app import Registry
    from .authorization import Authorization
    from .identity import Identity, Scopes

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECTS = tuple(f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("id_token", "jwt"))
_ACCESS = "urn:ietf:params:oauth:token-type:access_token"
_MOST_BODY = 32 << 10
_MOST_SCOPES = 100


def application(registry: Registry) -> ASGIApp:
    """The token endpoint of a registry with accounts."""
    return answering(lambda request: _token(request, registry.authorization))


async def _token(request: Request, access: Authorization) -> Response:
    """Answer GET and POST. Raises RegistryError."""
    if request.method == "POST":
        asked = parse_qs((await Body.of(request).read(_MOST_BODY)).decode("utf-8", "replace"))
        if asked.get("grant_type") == [EXCHANGE]:
            return await _exchanged(request, access, asked)
        identity = await _by_password(request, access, asked)
    elif request.method in ("GET", "HEAD"):
        asked = parse_qs(request.url.query)
        identity = await access.identify(request)
    else:
        raise refusal(Code.UNSUPPORTED)
    if identity is None:
        raise challenged(request, "", Role.NONE, "the credentials are not valid")
    if asked.get("service", [SERVICE])[0] != SERVICE:
        raise refusal(Code.UNSUPPORTED, "this registry issues tokens for itself alone", status=400)
    text = access.bearer.issue(identity, _scopes(asked.get("scope", [])))
    return _issued(text, min(LIFETIME, identity.until - time.time()))


async def _by_password(
    request: Request, authorization: Authorization, asked: dict[str, list[str]]
) -> Identity | None:
    if asked.get("grant_type") != ["password"]:
        raise refusal(
            Code.UNSUPPORTED, "only the grant types password and token-exchange are supported", status=400
        )
    name, secret = (asked.get(field, [""])[0] for field in ("username", "password"))
    return await authorization.authentication.check(name, secret, client_of(request))


async def _exchanged(request: Request, access: Authorization, asked: dict[str, list[str]]) -> Response:
    """RFC 8693: the token of a job for one of ours, as a bearer token or a password."""
    token = asked.get("subject_token", [""])[0]
    if not token or asked.get("subject_token_type", [""])[0] not in _SUBJECTS:
        raise refusal(Code.UNSUPPORTED, f"expected subject_token, of the type {_SUBJECTS[0]}", status=400)
    identity = await access.authentication.exchange(token, client_of(request))
    if identity is None:
        raise refusal(Code.DENIED, "no rule of this registry trusts this token, or it was used before")
    more = {"issued_token_type": _ACCESS, "token_type": "Bearer"}
    return _issued(access.bearer.exchanged(identity), identity.until - time.time(), **more)


def _issued(text: str, seconds: float, **more: str) -> Response:
    now, left = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), max(0, int(seconds))
    body = {"token": text, "access_token": text, "expires_in": left, "issued_at": now, **more}
    return answer(200, {"Cache-Control": "no-store"}, encode_json(body), JSON)


def _scopes(texts: list[str]) -> Scopes:
    """`repository:NAME:ACTION,…` and `registry:catalog:*`; others give nothing. A name may hold no colon."""
    found: Scopes = {}
    for text in " ".join(texts).split()[:_MOST_SCOPES]:
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if f"{kind}:{name}" == CATALOG:
            found[CATALOG] = frozenset((Role.READ,))
        elif kind == "repository" and is_name(name):
            found[name] = found.get(name, frozenset()) | roles_of(actions.split(","))
    return found
