"""The tables of accounts, as SQLAlchemy describes them; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)


def _owner(column: str, target: str, *, optional: bool = False) -> Column[int]:
    """A reference that goes with what it refers to."""
    return Column(
        column, Integer, ForeignKey(f"{target}.id", ondelete="CASCADE"), nullable=optional, index=True
    )


METADATA = MetaData()
USERS = Table(
    "users", METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("password", Text, nullable=False),  # of argon2; "" for none
    Column("administrator", Boolean, nullable=False),
    Column("robot", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created", Float, nullable=False),
)  # fmt: skip
TEAMS = Table(
    "teams", METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)  # fmt: skip
MEMBERS = Table(
    "members", METADATA,
    _owner("team", "teams"),
    _owner("user", "users"),
    UniqueConstraint("team", "user"),
)  # fmt: skip
GRANTS = Table(
    "grants", METADATA,
    Column("id", Integer, primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("role", Integer, nullable=False),
    _owner("user", "users", optional=True),
    _owner("team", "teams", optional=True),
    CheckConstraint('("user" IS NULL) != (team IS NULL)'),
    UniqueConstraint("namespace", "user"),
    UniqueConstraint("namespace", "team"),
)  # fmt: skip
NAMESPACES = Table(
    "namespaces", METADATA,
    Column("name", Text, primary_key=True),
    Column("public", Boolean),
    Column("immutable", Text, nullable=False),  # patterns of tags, one on a line
)  # fmt: skip
TOKENS = Table(
    "tokens", METADATA,
    Column("id", Integer, primary_key=True),
    _owner("user", "users"),
    Column("label", Text, nullable=False),
    Column("secret", Text, nullable=False, unique=True),  # its SHA-256 in hexadecimal digits
    Column("role", Integer, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float, nullable=False),
)  # fmt: skip
TRUSTS = Table(
    "trusts", METADATA,
    Column("id", Integer, primary_key=True),
    Column("issuer", Text, nullable=False, index=True),
    Column("audience", Text, nullable=False),
    Column("claims", Text, nullable=False),  # a JSON object of patterns
    Column("namespace", Text, nullable=False),
    Column("role", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("created", Float, nullable=False),
)  # fmt: skip
SPENT = Table(
    "spent", METADATA,
    Column("token", Text, primary_key=True),  # SHA-256 of the issuer and the token's id
    Column("client", Text, nullable=False),  # who may use it again; "" for nobody
    Column("until", Float, nullable=False),  # what it was exchanged for ends then
    Column("kept", Float, nullable=False, index=True),  # it is refused by itself from then on
)  # fmt: skip
IDENTITIES = Table(
    "identities", METADATA,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    _owner("user", "users"),
)  # fmt: skip
SETTINGS = Table(
    "settings", METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip
AUDIT = Table(
    "audit", METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
)  # fmt: skip
