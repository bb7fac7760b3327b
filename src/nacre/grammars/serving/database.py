"""`[database]`: where names and accounts are."""

from __future__ import annotations

from ...words.rules import MetadataRules
from .kind import SECRET
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("database", ("rules", "metadata"), MetadataRules, "Where names and accounts are.", (
    ConfigKey("url", "PostgreSQL server, `postgresql://USER@HOST/DATABASE`; none: what the directory has, at"
              " first a file", SECRET, flag="database"),
))  # fmt: skip
