"""Alembic runs this by its path, with a connection that the caller has opened."""

from __future__ import annotations

from alembic import context

from nacre.stores.accounts.schema import METADATA


def run() -> None:
    """Bring the database up to date, in one transaction."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name that Alembic gives it
    run()
