"""Users, teams, grants, namespaces, tokens, settings and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "accounts"
down_revision = None


def upgrade() -> None:
    """Make the tables of accounts."""
    _people()
    _rights()
    op.create_table(
        "settings", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False, index=True),
        *_texts("actor", "action", "subject"),
    )


def _people() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        *_texts("password"),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("administrator", "robot", "disabled")),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "members", _owner("team", "teams"), _owner("user", "users"), sa.UniqueConstraint("team", "user")
    )


def _rights() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Integer, primary_key=True),
        *_texts("namespace"),
        sa.Column("role", sa.Integer, nullable=False),
        _owner("user", "users", optional=True),
        _owner("team", "teams", optional=True),
        sa.CheckConstraint('("user" IS NULL) != (team IS NULL)'),
        sa.UniqueConstraint("namespace", "user"),
        sa.UniqueConstraint("namespace", "team"),
    )
    op.create_table(
        "namespaces",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("public", sa.Boolean),
        *_texts("immutable"),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer, primary_key=True),
        _owner("user", "users"),
        *_texts("label"),
        sa.Column("secret", sa.Text, nullable=False, unique=True),
        sa.Column("role", sa.Integer, nullable=False),
        *_texts("namespace"),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("created", "expires")),
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _owner(column: str, target: str, *, optional: bool = False) -> sa.Column[int]:
    reference = sa.ForeignKey(f"{target}.id", ondelete="CASCADE")
    return sa.Column(column, sa.Integer, reference, nullable=optional, index=True)
