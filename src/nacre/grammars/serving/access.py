"""`[access]`: who may come in."""

from __future__ import annotations

from ...words.rules import AccessRules
from .kind import FLAG
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("access", ("rules", "access"), AccessRules, "Who may come in.", (
    ConfigKey("accounts", "Everybody must log in, also while there is no account yet", FLAG, flag="accounts"),
    ConfigKey("url", "Where people reach the registry, for links and sign-in: `https://registry.example.com`"),
))  # fmt: skip
