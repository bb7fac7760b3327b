"""`[cache]`: how much is kept of other registries."""

from __future__ import annotations

from ...words.upstreams import CacheRules
from .kind import DURATION, SIZE
from .table import ConfigKey, ConfigTable

_HELP = "How much is kept of upstreams; what was pushed is never counted and never goes."
TABLE = ConfigTable("cache", ("rules", "cache"), CacheRules, _HELP, (
    ConfigKey("size", "Most bytes; what was used least recently goes first. `0` for no bound", SIZE,
              flag="cache_size"),
    ConfigKey("unused-age", "Content that nobody asked for in this time goes; `0s` for never", DURATION,
              "unused"),
))  # fmt: skip
