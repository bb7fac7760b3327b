"""`[garbage]`: what the registry removes by itself."""

from __future__ import annotations

from ...words.rules import GarbageRules
from .kind import DURATION
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("garbage", ("rules", "garbage"), GarbageRules, "What the registry removes by itself.", (
    ConfigKey("interval", "From one look for what nothing names to the next; `0s` for never", DURATION,
              flag="gc_interval"),
    ConfigKey("grace", "How long a blob stays that no manifest needs", DURATION, flag="gc_grace"),
    ConfigKey("untagged-age", "How long a manifest stays that nothing names; `0s` for ever", DURATION,
              "untagged", "untagged_age"),
))  # fmt: skip
