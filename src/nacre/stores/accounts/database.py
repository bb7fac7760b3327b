"""Opening the database of a registry by SQLAlchemy, with the tables of accounts in it."""

from __future__ import annotations

import os
from contextlib import contextmanager

import alembic.command
from alembic.config import Config
from sqlalchemy import URL, NullPool, create_engine, event
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from ...words.errors import Conflict, StoreError, Unavailable
from ..catalog import is_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import Connection, Engine

_ACCOUNTS = 7025087442
"""A lock of our own."""
_PATIENCE = 30
"""Seconds to wait for another process that writes."""


class AccountsDatabase:
    """The SQLite file, or the server at the URL `place`; the tables are made, or brought up to date.

    Raises StoreError, UsageError, Unavailable.
    """

    def __init__(self, place: str) -> None:
        self._engine = _server(place) if is_url(place) else _file(place)
        with self.change() as connection:
            _upgrade(connection)

    @contextmanager
    def change(self) -> Iterator[Connection]:
        """One transaction, which holds the database from its begin. Raises StoreError, Conflict."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise Conflict(f"it exists already, or what it needs does not: {error.orig}") from error
        except OperationalError as error:
            if self._engine.dialect.name == "sqlite":
                raise StoreError(f"registry database: {error.orig}") from error
            text = str(error.orig).strip().partition("\n")[0]
            raise Unavailable(f"the registry's database does not answer: {text}") from error
        except SQLAlchemyError as error:
            raise StoreError(f"registry database: {getattr(error, 'orig', None) or error}") from error

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._engine.dispose()


def _server(url: str) -> Engine:
    """One at a time changes accounts, as with a file: that somebody is left who may, each looks up."""
    import psycopg

    from ..catalog.postgresql import connection_of

    options = connection_of(url)
    made = create_engine(
        "postgresql+psycopg://", poolclass=NullPool, isolation_level="READ COMMITTED",
        creator=lambda: psycopg.connect(options),
    )  # fmt: skip

    @event.listens_for(made, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ACCOUNTS})")

    return made


def _file(path: str) -> Engine:
    options = {"timeout": _PATIENCE}
    made = create_engine(URL.create("sqlite", database=path), poolclass=NullPool, connect_args=options)

    @event.listens_for(made, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver's own transactions end at each change of a table
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(made, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


def _upgrade(connection: Connection) -> None:
    folder = os.path.dirname(__file__)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", os.path.join(folder, "migrations").replace("%", "%%"))
    alembic.command.upgrade(config, "head")
