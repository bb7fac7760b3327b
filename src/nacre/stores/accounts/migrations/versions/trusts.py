"""Trust in the issuers of tokens, and the tokens that were used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "trusts"
down_revision = "accounts"


def upgrade() -> None:
    """Make the tables of trust."""
    op.create_table(
        "trusts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False, index=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("audience", "claims", "namespace")),
        sa.Column("role", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("seconds", "created")),
    )
    op.create_table(
        "spent",
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("kept", sa.Float, nullable=False, index=True),
    )
