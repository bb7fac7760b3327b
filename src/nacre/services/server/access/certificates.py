"""Who somebody is by the certificate that their connection has shown, which the relay has verified.

A browser shows it with whatever any site makes it send, so a request that another site has caused counts as
one without a certificate (W3C, Fetch Metadata; RFC 6454).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..relay import CERTIFICATE, PeerCertificate

if TYPE_CHECKING:
    from starlette.requests import Request

    from ....words.rules import ClientCertificateRules

_USER = r"(?P<user>[a-z0-9._-]{1,255})"
_MOST_FIELD = 1024


class CertificateRule(NamedTuple):
    """`user` "" is the name that the pattern finds."""

    field: str
    pattern: re.Pattern[str]
    user: str

    def match(self, field: str, value: str) -> str:
        """Who it is by that, "" for nobody."""
        if field != self.field or len(value) > _MOST_FIELD:
            return ""
        found = self.pattern.fullmatch(value)
        return (self.user or found["user"]) if found else ""


class ClientCertificates:
    """The rules by which certificates are somebody's."""

    def __init__(self, rules: ClientCertificateRules) -> None:
        self._rules = tuple(map(_rule, rules.users)) if rules.authorities else ()

    def user(self, certificate: PeerCertificate) -> str:
        """The name of whom it belongs to by the first rule that matches, "" for nobody."""
        found = (rule.match(*field) for rule in self._rules for field in certificate.fields)
        return next(filter(None, found), "")


def certificate_of(request: Request) -> PeerCertificate | None:
    """What the client has shown, unless another site makes a browser send this."""
    found = request.scope.get(CERTIFICATE)
    return found if isinstance(found, PeerCertificate) and not _is_foreign(request) else None


def checksum_of(request: Request) -> str:
    """Of the certificate that counts, "" for none."""
    found = certificate_of(request)
    return found.checksum if found else ""


def _is_foreign(request: Request) -> bool:
    headers = request.headers
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    return headers.get("origin", "") not in ("", f"{request.url.scheme}://{request.url.netloc}")


def _rule(text: str) -> CertificateRule:
    field, _, rest = text.partition(":")
    pattern, _, user = rest.rpartition("=")
    parts = {"*": ".*", "{user}": _USER}
    written = "".join(parts.get(each) or re.escape(each) for each in re.split(r"(\*|\{user\})", pattern))
    return CertificateRule(field, re.compile(written, re.DOTALL), "" if user == "{user}" else user)
