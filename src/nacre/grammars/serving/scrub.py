"""`[scrub]`: how content is read again to find damage."""

from __future__ import annotations

from ...words.rules import ScrubRules
from .kind import DURATION, SIZE
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("scrub", ("rules", "scrub"), ScrubRules, "How content is read again to find damage.", (
    ConfigKey("interval", "From the end of one reading of all to the next; `0s` for never", DURATION),
    ConfigKey("rate", "Bytes per second at most", SIZE),
))  # fmt: skip
