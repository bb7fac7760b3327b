"""`[limits]`: what a client may ask for."""

from __future__ import annotations

from ...words.rules import RegistryLimits
from .kind import DURATION, NUMBER, SIZE
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("limits", ("rules", "limits"), RegistryLimits, "What a client may ask for.", (
    ConfigKey("connections", "Most connections of one address; more behind a proxy", NUMBER,
              flag="connections", at=("rules",)),
    ConfigKey("blob-size", "Most bytes of one blob", SIZE, "blob"),
    ConfigKey("uploads", "Most unfinished uploads", NUMBER),
    ConfigKey("uploads-each", "Most unfinished uploads of one user, or of one address without one", NUMBER),
    ConfigKey("upload-idle", "An upload that nobody used for so long gives way to a new one", DURATION),
    ConfigKey("upload-age", "An upload that nobody used for so long is dropped", DURATION),
    ConfigKey("chunk-size", "Least bytes of a chunk that clients are asked for", SIZE, "chunk"),
    ConfigKey("idle-timeout", "A body of which nothing comes for so long is given up", DURATION, "patience"),
    ConfigKey("min-rate", "Bytes per second at which a body must come and an answer be taken", SIZE, "rate"),
))  # fmt: skip
