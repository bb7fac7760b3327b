"""Finds and opens the database of a registry: the file in its folder, or a server.

    ROOT/registry.db         the file
    ROOT/registry.database   where a server is, without its password, and which registry it has there

So whoever asks for the registry in a folder need not know the server, and a folder whose content is known to
a server is never served with an empty file, by which all of it would be unknown and go.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...ground.files import os_errors, write_atomic
from ...words.errors import Conflict, Unsupported
from .sqlite import SqliteDatabase

if TYPE_CHECKING:
    from .model import CatalogDatabase

FILE, SERVER = "registry.db", "registry.database"
RESTORING = "restoring.db"
"""The file of a registry that is not all there yet: see `restoring`."""
_MOST = 8192


def is_url(place: str) -> bool:
    """Is it a URL, and no path?"""
    return "://" in place


def is_registry(root: str) -> bool:
    """Does a folder know its database?"""
    return any(os.path.exists(f"{root}/{name}") for name in (FILE, SERVER))


def place_of(root: str, url: str = "") -> str:
    """Path or URL of the database of the registry in `root`; `url` "" is the one that it has.

    Raises Conflict, StoreError.
    """
    url = url or _known(root)[0]
    if url and os.path.exists(f"{root}/{FILE}"):
        hint = "`nacre registry backup` it, and restore that into a new directory with --database"
        raise Conflict(f"{root} has a database of its own, {FILE}", hint=hint)
    return url or f"{root}/{FILE}"


def open_database(place: str) -> CatalogDatabase:
    """The SQLite file at a path, or the server at a URL, whose driver is loaded now. Close it.

    Raises StoreError, and of a server UsageError, Unsupported, Unavailable.
    """
    if not is_url(place):
        return SqliteDatabase(place)
    try:
        from .postgresql import PostgresDatabase
    except ImportError as error:
        needs = f"a registry on PostgreSQL needs {error.name or 'psycopg'}"
        raise Unsupported(needs, hint="pip install nacre-oci[registry]") from None
    return PostgresDatabase(place)


def remember(root: str, place: str, database: CatalogDatabase) -> None:
    """Let the folder know its server. Raises Conflict when it has the content of another registry."""
    if not database.is_remote:
        return
    known, registry = _known(root)[1], database.registry
    if known and known != registry:
        raise Conflict(f"what is in {root} belongs to a registry that this database does not have")
    with os_errors(f"write {root}/{SERVER}"):
        write_atomic(f"{root}/{SERVER}", f"{without_password(place)}\n{registry}\n".encode(), sync=True)


def _known(root: str) -> tuple[str, str]:
    """URL and registry that the folder remembers."""
    with os_errors(f"open {root}"):
        try:
            with open(f"{root}/{SERVER}", encoding="utf-8") as file:
                lines = file.read(_MOST).split("\n")
        except FileNotFoundError:
            return "", ""
    return lines[0], lines[1] if len(lines) > 1 else ""


def without_password(url: str) -> str:
    """A URL that can be shown and kept."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    query = "&".join(each for each in parts.query.split("&") if not each.startswith("password="))
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{hosts}{parts.path}{'?' if query else ''}{query}"
