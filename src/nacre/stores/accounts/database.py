"""Opening the database of a registry by SQLAlchemy, with the tables of accounts in it."""

from __future__ import annotations

import os
from contextlib import contextmanager

import alembic.command
from alembic.config import Config
from sqlalchemy import URL, NullPool, create_engine, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ...words.errors import Conflict, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy import Connection, Engine

_PATIENCE = 30
"""Seconds to wait for another process that writes."""


class AccountsDatabase:
    """The SQLite file `path`; the tables are made, or brought up to date. Raises StoreError."""

    def __init__(self, path: str) -> None:
        self._engine = _engine(path)
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
        except SQLAlchemyError as error:
            raise StoreError(f"registry database: {getattr(error, 'orig', None) or error}") from error

    def close(self) -> None:
        """Nothing may be called afterwards."""
        self._engine.dispose()


def _engine(path: str) -> Engine:
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
