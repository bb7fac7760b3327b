"""Looking for repositories: docker's index protocol where a registry has it, else its catalog.

    GET /v1/search?q=TERM&n=LIMIT     {"results": [{"name", "description", "star_count", "is_official", …}]}
    GET /v2/_catalog                  names alone; those that hold the term are taken, of a bounded number

Docker Hub keeps its index on a host of its own. Source: docker's registry package, search_endpoint_v1.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from ...words.errors import InvalidDocument, NotFound, RegistryError, Unauthorized, Unreachable
from ...words.oci import MAX_DOCUMENT, decode_json
from ...words.value import Value
from .session import Session

INDEX_HOST = "index.docker.io"
MAX_LOOKED = 20_000
"""Names of a catalog that are looked at."""
USUAL_LIMIT = 25


class SearchResult(Value):
    """A repository that fits. Of a catalog only the name is known."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


class SearchResults(Value):
    """What was found; `whole` is False when a catalog was too long to be looked through."""

    found: tuple[SearchResult, ...]
    whole: bool = True


def search(session: Session, term: str, limit: int, catalog: Callable[[], Iterator[str]]) -> SearchResults:
    """At most `limit` repositories for `term`. Raises RegistryError, Unauthorized, Unreachable."""
    path = f"/v1/search?q={quote(term, safe='')}&n={limit}"
    try:
        _, data = session.document(path, f"search for {term}", scopes=(), limit=MAX_DOCUMENT)
    except (Unauthorized, Unreachable):
        raise
    except (NotFound, RegistryError) as error:
        if isinstance(error, RegistryError) and error.status >= 429:
            raise
        return _of_catalog(term, limit, catalog())
    return SearchResults(tuple(_found(row) for row in _rows(data))[:limit])


def _rows(data: bytes) -> list[dict[str, Any]]:
    fields = decode_json(data, "answer to a search")
    rows = fields.get("results") if isinstance(fields, dict) else None
    rows = [] if rows is None and isinstance(fields, dict) and "num_results" in fields else rows
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidDocument("the registry sent an unknown answer to a search")
    return rows


def _found(row: dict[str, Any]) -> SearchResult:
    stars = row.get("star_count")
    return SearchResult(
        _printable(row.get("name")), _printable(row.get("description")),
        stars if type(stars) is int else 0, row.get("is_official") is True, row.get("is_automated") is True,
    )  # fmt: skip


def _printable(text: object) -> str:
    """One line of text that does nothing to a terminal."""
    words = text.split() if isinstance(text, str) else []
    return "".join(char for char in " ".join(words) if char.isprintable())


def _of_catalog(term: str, limit: int, names: Iterator[str]) -> SearchResults:
    found: list[SearchResult] = []
    for looked, name in enumerate(names):
        if looked == MAX_LOOKED:
            return SearchResults(tuple(found), whole=False)
        if term.lower() in name.lower():
            found.append(SearchResult(name))
        if len(found) == limit:
            break
    return SearchResults(tuple(found))
