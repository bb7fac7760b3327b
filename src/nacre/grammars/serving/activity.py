"""`[activity]`: what is remembered of who did what."""

from __future__ import annotations

from ...words.rules import ActivityRules
from .kind import DURATION, NUMBER, TEXTS
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("activity", ("rules", "activity"), ActivityRules, "What is remembered of who did what.", (
    ConfigKey("age", "How long it is remembered", DURATION),
    ConfigKey("pulls", "Namespaces of which pulls are remembered, too; `*` is all", TEXTS),
    ConfigKey("most", "Most entries; the oldest are forgotten first", NUMBER),
))  # fmt: skip
