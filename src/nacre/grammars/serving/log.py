"""`[log]`: what the registry writes about itself and about requests."""

from __future__ import annotations

from ...words.rules import LogRules
from .kind import choice
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("log", ("rules", "log"), LogRules, "What the registry writes on standard error.", (
    ConfigKey("format", "Lines of text, or of JSON", choice("text", "json"), "form", "log_format"),
))  # fmt: skip
