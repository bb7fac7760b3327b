"""The paths of the page: read from a path, and made for links.

    path      = "/" / "/r/" name [ "/-/" view [ "/" reference [ "/" file ] ] ] / "/-/" view
    view      = tags, image, files, compare, referrers, activity, members, storage, edit, sign-in …

A part of a repository name cannot be `-`, so what follows `/-/` is never part of one. The path of a file is
bytes, each part percent-encoded.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes, urlencode

from ....grammars.wire.routes import is_name

MAX_PATH = 8192
_REPOSITORY = "/r/"
_OTHER = "/-/"


class Location(NamedTuple):
    """What a path is about; `view` is "" for the first page of the registry or of a repository."""

    view: str = ""
    repository: str = ""
    reference: str = ""
    file: bytes = b""


def location_of(path: str) -> Location | None:
    """Of a path as it was sent, percent-encoded and without query; None for what is none."""
    if len(path) > MAX_PATH:
        return None
    if path == "/":
        return Location()
    if path.startswith(_OTHER):
        view, _, rest = path.removeprefix(_OTHER).partition("/")
        return Location(view, reference=unquote(rest)) if view else None
    if not path.startswith(_REPOSITORY):
        return None
    name, _, rest = path.removeprefix(_REPOSITORY).partition(_OTHER)
    name = name.removesuffix("/")
    if not is_name(name):
        return None
    view, _, rest = rest.partition("/")
    reference, _, file = rest.partition("/")
    return Location(view, name, unquote(reference), unquote_to_bytes(file).strip(b"/"))


def link(view: str = "", repository: str = "", reference: str = "", file: bytes = b"", **query: str) -> str:
    """The path of a location; what is empty in the query is left out."""
    path = _REPOSITORY + repository if repository else ""
    if view:
        path += _OTHER + view
    if reference:
        path += "/" + quote(reference, ":")
    if file:
        path += "/" + quote_from_bytes(file)
    said = urlencode({key: value for key, value in query.items() if value})
    return (path or "/") + (f"?{said}" if said else "")
