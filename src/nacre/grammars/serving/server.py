"""`[server]`: where the registry is served."""

from __future__ import annotations

from ...words.rules import ServingConfig
from .kind import DURATION, FLAG, PATH
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("server", (), ServingConfig, "Where the registry is served.", (
    ConfigKey("addr", "Address to listen on, `HOST:PORT`; port 0 picks a free one", field="address",
              flag="addr"),
    ConfigKey("root", "Directory of the registry; none: `registry` in the store", PATH, "folder", "root"),
    ConfigKey("quiet", "Log only failures of the registry itself", FLAG, flag="quiet"),
    ConfigKey("stop-delay", "When told to end, be not ready (`/readyz`) for so long before refusing requests",
              DURATION, "delay", at=("rules", "stop")),
    ConfigKey("stop-timeout", "How long requests under way may then take", DURATION, "patience",
              at=("rules", "stop")),
))  # fmt: skip
