"""The token endpoint, `/token`: credentials for a token that lets one do what was asked for.

GET with Basic, or nothing, as docker's clients do; POST as OAuth 2 (`grant_type=password`). Sources:
distribution, auth/token and auth/oauth.
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
from ..bodies import Body
from .authorization import challenged
from .bearer import LIFETIME
from .identity import ACTIONS, SERVICE

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from .authorization import Authorization
    from .identity import Identity, Scopes

_MOST_BODY = 16 << 10
_MOST_SCOPES = 100


async def token(request: Request, access: Authorization) -> Response:
    """Answer GET and POST. Raises RegistryError."""
    if request.method == "POST":
        asked = parse_qs((await Body.of(request).read(_MOST_BODY)).decode("utf-8", "replace"))
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
    return _issued(access.bearer.issue(identity, _scopes(asked.get("scope", []))))


async def _by_password(
    request: Request, authorization: Authorization, asked: dict[str, list[str]]
) -> Identity | None:
    if asked.get("grant_type") != ["password"]:
        raise refusal(Code.UNSUPPORTED, "only the grant type password is supported", status=400)
    name, secret = (asked.get(field, [""])[0] for field in ("username", "password"))
    return await authorization.authentication.check(
        name, secret, request.client.host if request.client else ""
    )


def _issued(text: str) -> Response:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {"token": text, "access_token": text, "expires_in": LIFETIME, "issued_at": now}
    return answer(200, {"Cache-Control": "no-store"}, encode_json(body), JSON)


def _scopes(texts: list[str]) -> Scopes:
    """`repository:NAME:ACTION,…`; other kinds of scope give nothing. A name may hold no colon here."""
    found: Scopes = {}
    for text in " ".join(texts).split()[:_MOST_SCOPES]:
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and is_name(name):
            wanted = frozenset(ACTIONS[action] for action in actions.split(",") if action in ACTIONS)
            found[name] = found.get(name, frozenset()) | wanted
    return found
