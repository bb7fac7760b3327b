"""`[rates]`: how often one may ask."""

from __future__ import annotations

from ...words.rules import RateRules
from .kind import DURATION, NUMBER
from .table import ConfigKey, ConfigTable

_HELP = "How often a user, or an address without one, may ask; 0 for as often as they like."
TABLE = ConfigTable("rates", ("rules", "rates"), RateRules, _HELP, (
    ConfigKey("pulls", "Most manifests that are taken within the window", NUMBER),
    ConfigKey("anonymous-pulls", "The same for who did not log in; 0: as `pulls`", NUMBER),
    ConfigKey("pushes", "Most manifests that are pushed within the window", NUMBER),
    ConfigKey("window", "The time of the three", DURATION),
    ConfigKey("requests", "Most requests of any kind within a minute", NUMBER),
))  # fmt: skip
