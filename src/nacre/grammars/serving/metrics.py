"""`[metrics]`: who may read what the registry counts."""

from __future__ import annotations

from ...words.rules import MetricsRules
from .kind import SECRET
from .table import ConfigKey, ConfigTable

_HELP = "Who may read `/metrics`, besides this machine and administrators."
TABLE = ConfigTable("metrics", ("rules", "metrics"), MetricsRules, _HELP, (
    ConfigKey("token", "Whoever sends it as a bearer token", SECRET),
))  # fmt: skip
