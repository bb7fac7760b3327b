"""`[[retention]]`: tags that go."""

from __future__ import annotations

from ...words.rules import RetentionRule
from .kind import DURATION, NUMBER, TEXTS
from .table import ConfigKey, ConfigTable, Occurrence

TABLE = ConfigTable(
    "retention", ("rules", "retention"), RetentionRule,
    "Tags that go; the first rule that is for a tag decides. See registry-retention.md.",
    (
        ConfigKey("repositories", "Patterns of repositories that the rule is for", TEXTS),
        ConfigKey("tags", "Patterns of tags that it is for", TEXTS),
        ConfigKey("exclude", "Patterns of tags that it is not for", TEXTS),
        ConfigKey("keep-newest", "Keep so many of the newest tags of each repository", NUMBER, "newest"),
        ConfigKey("keep-for", "Keep what was pushed less than this ago", DURATION, "age"),
    ),
    Occurrence.LISTED,
)  # fmt: skip
