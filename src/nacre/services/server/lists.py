"""Lists in pages: repositories, tags, referrers. The next page is named by `Link` (RFC 8288)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ...grammars.wire import JSON, OCI_FILTERS_APPLIED
from ...grammars.wire.errors import Code, refusal
from ...words.oci import MAX_DOCUMENT, OCI_INDEX, encode_json
from .access import may_list
from .answers import answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ...grammars.wire.routes import Route
    from ...stores.catalog import Catalog, Referrer
    from .state import RegistryState

MOST = 10_000
"""Entries of a page, whatever was asked for: an answer must not grow with the registry."""
_MOST_REFERRERS = 1_000
_MOST_LAST = 512


class Lists:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState) -> None:
        self._catalog: Catalog = state.catalog
        self._work = state.work

    async def repositories(self, request: Request, route: Route) -> Response:
        """Answer `GET _catalog`, one page."""
        count, last = window(request)
        names = await self._readable(request, last, count + 1)
        return page(route, count, names, {"repositories": names[:count]})

    async def _readable(self, request: Request, last: str, count: int) -> list[str]:
        """The next repositories that whoever asks may read, at most `count`."""
        found: list[str] = []
        while len(found) < count:
            names = await self._work.run(self._catalog.repositories, last, count)
            found += [name for name in names if may_list(request, name)]
            if len(names) < count:
                break
            last = names[-1]
        return found[:count]

    async def tags(self, request: Request, route: Route) -> Response:
        """Answer `GET tags/list`, one page."""
        count, last = window(request)
        if not await self._work.ask(self._catalog.exists, route.name):
            raise refusal(Code.NAME_UNKNOWN, f"no repository {route.name}")
        tags = await self._work.run(self._catalog.tags, route.name, last, count + 1)
        return page(route, count, tags, {"name": route.name, "tags": tags[:count]})

    async def referrers(self, request: Request, route: Route) -> Response:
        """GET referrers: an index of what names the digest as its subject; empty when nothing does."""
        kind = request.query_params.get("artifactType", "")
        last = request.query_params.get("last", "")[:_MOST_LAST]
        found = await self._work.run(
            self._catalog.referrers, route.name, route.digest, kind, last, _MOST_REFERRERS + 1
        )
        shown = fitting([_entry(referrer) for referrer in found])
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}
        response = answer(200, None, encode_json(index), OCI_INDEX)
        if kind:
            response.headers[OCI_FILTERS_APPLIED] = "artifactType"
        if len(shown) < len(found):
            query = {"artifactType": kind, "last": found[len(shown) - 1].digest}
            response.headers["Link"] = _next(route, {key: value for key, value in query.items() if value})
        return response


def window(request: Request) -> tuple[int, str]:
    """`n` and `last` of the query. Raises RegistryError PAGINATION_NUMBER_INVALID."""
    text = request.query_params.get("n", str(MOST))
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise refusal(Code.PAGINATION_NUMBER_INVALID, f"invalid number of results {text[:100]!r}")
    return min(int(text), MOST), request.query_params.get("last", "")[:_MOST_LAST]


def page(route: Route, count: int, found: list[str], body: dict[str, object]) -> Response:
    """A page of `count`, with where the next one is if more was found."""
    response = answer(200, None, encode_json(body), JSON)
    if 0 < count < len(found):
        response.headers["Link"] = _next(route, {"n": str(count), "last": found[count - 1]})
    return response


def _next(route: Route, query: dict[str, str]) -> str:
    return f'<{route.path}?{urlencode(query)}>; rel="next"'


def fitting(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    """Those that fit one document, at least one; an entry too long for any loses its annotations."""
    shown: list[dict[str, object]] = []
    room = MAX_DOCUMENT - 1024
    for entry in entries[:_MOST_REFERRERS]:
        size = len(encode_json(entry)) + 1
        if size > room and not shown:
            entry.pop("annotations", None)
        elif size > room:
            break
        room -= size
        shown.append(entry)
    return shown


def _entry(referrer: Referrer) -> dict[str, object]:
    entry: dict[str, object] = {
        "mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size,
    }  # fmt: skip
    if referrer.artifact_type:
        entry["artifactType"] = referrer.artifact_type
    if referrer.annotations:
        entry["annotations"] = referrer.annotations
    return entry
