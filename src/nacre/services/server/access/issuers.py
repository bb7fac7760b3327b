"""Who issues tokens, and the keys they sign with (OpenID Connect Discovery 1.0, RFC 7517).

Only issuers that the operator named are asked. What they answer is bounded, kept for an hour, asked for by
one request at a time, and again when a token names a key that is not known, at most once a minute. While an
issuer cannot be reached, its keys of the last day hold.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from ....words.errors import ContentError, NacreError
from ....words.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..outgoing import Fetch
    from ..work import Work

    PublicKey = RSAKey | ECKey | OKPKey

_FRESH, _KEPT, _AGAIN = 3600.0, 24 * 3600.0, 60.0
_AFTER_FAILURE = 10.0
_DOCUMENT, _KEYS = 64 << 10, 256 << 10
_MOST_KEYS = 100
_LEAST_RSA = 2048


class Issuer(NamedTuple):
    """What one published, and when it was asked (monotonic)."""

    document: dict[str, Any]
    keys: dict[str, PublicKey]
    asked: float


class Issuers:
    """Those whose tokens are taken."""

    def __init__(self, fetch: Fetch | None, work: Work) -> None:
        self._fetch, self._work = fetch, work
        self._known: dict[str, Issuer] = {}
        self._failed: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def post(self, issuer: str, name: str, form: Mapping[str, str]) -> dict[str, Any]:
        """What the endpoint `name` of an issuer answers to a form. Raises NacreError."""
        url = endpoint_of(issuer, (await self.find(issuer)).document, name)
        assert self._fetch
        return _object(await self._work.run(self._fetch, url, _DOCUMENT, form))

    async def key(self, issuer: str, name: str) -> PublicKey | None:
        """The key of that name (`kid`); "" is the only one. Raises NacreError."""
        found = await self.find(issuer)
        if name and name not in found.keys and time.monotonic() - found.asked > _AGAIN:
            found = await self.find(issuer, age=_AGAIN)
        if not name:
            return next(iter(found.keys.values())) if len(found.keys) == 1 else None
        return found.keys.get(name)

    async def find(self, issuer: str, age: float = _FRESH) -> Issuer:
        """What an issuer published at most `age` seconds ago, if it can be reached. Raises NacreError."""
        async with self._asking.setdefault(issuer, asyncio.Lock()):
            known, now = self._known.get(issuer), time.monotonic()
            if known and now - known.asked <= age:
                return known
            if now - self._failed.get(issuer, -_AFTER_FAILURE) >= _AFTER_FAILURE:
                try:
                    self._known[issuer] = found = await self._work.run(self._ask, issuer)
                    return found
                except NacreError:
                    self._failed[issuer] = now
                    if known is None or now - known.asked > _KEPT:
                        raise
            if known is None or now - known.asked > _KEPT:
                raise ContentError(f"the issuer {issuer} could not be reached a moment ago")
            return known

    def _ask(self, issuer: str) -> Issuer:
        if self._fetch is None:
            raise ContentError("this registry asks no issuers")
        document = _object(self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration", _DOCUMENT))
        if document.get("issuer") != issuer:
            raise ContentError(f"{issuer} says that it is {str(document.get('issuer'))[:200]!r}")
        keys = _object(self._fetch(endpoint_of(issuer, document, "jwks_uri"), _KEYS))
        return Issuer(document, _keys(keys.get("keys")), time.monotonic())


def endpoint_of(issuer: str, document: Mapping[str, Any], name: str) -> str:
    """A URL of what an issuer published; never less protected than itself. Raises ContentError."""
    url = document.get(name)
    if not isinstance(url, str) or not _is_safe(url):
        raise ContentError(f"{issuer} publishes no usable {name}")
    return url


def _is_safe(url: str) -> bool:
    scheme, _, rest = url.partition("://")
    return scheme == "https" or (scheme == "http" and is_loopback(rest.partition("/")[0]))


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ContentError("an issuer answered with something else than a JSON object")
    return found


def _keys(entries: object) -> dict[str, PublicKey]:
    """Those that can verify: no secrets, no short ones, none for encryption."""
    found: dict[str, PublicKey] = {}
    for entry in entries[:_MOST_KEYS] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("kty") in ("RSA", "EC", "OKP") and entry.get("use") != "enc":
            key = _key(entry)
            if key is not None:
                found[str(entry.get("kid", ""))] = key
    return found


def _key(entry: dict[str, Any]) -> PublicKey | None:
    try:
        key = JWKRegistry.import_key({name: value for name, value in entry.items() if name != "d"})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= _LEAST_RSA else None
    return key if isinstance(key, ECKey | OKPKey) else None
