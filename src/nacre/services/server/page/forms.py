"""Who sends a form: the browser of whoever signed in, from a page of ours, and nobody else's page.

session   a cookie with a token that is signed with the registry's own key, so that any replica knows it; it
          says who, and is over when the password changes, the user is disabled or the time is up
token     of a session, in every form of a page: what another site makes a browser send has none
origin    what browsers say about where a form comes from must be here
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ....grammars.wire.errors import Code, refusal
from ..bodies import Body

if TYPE_CHECKING:
    from starlette.requests import Request

FIELD = "token"
MOST = 512 << 10
_MOST_FIELDS = 64


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name. Raises RegistryError for what is none, or too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise refusal(Code.UNSUPPORTED, "a form was expected", status=415)
    data = await Body.of(request).read(MOST)
    try:
        return dict(parse_qsl(data.decode("utf-8", "replace"), True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise refusal(Code.UNSUPPORTED, "a form with fewer fields was expected", status=400) from None


def token_for(key: bytes, session: str) -> str:
    """What a form of that session must have; "" where there is no session."""
    return hmac.new(key, b"form " + session.encode(), hashlib.sha256).hexdigest() if session else ""


def check_token(given: str, wanted: str) -> None:
    """Raises RegistryError (403) unless the form has the token of the session."""
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise refusal(
            Code.DENIED,
            "this form is out of date: go back, load the page again and send it once more",
            status=403,
        )
