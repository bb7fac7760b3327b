"""`[lazy]`: what the registry does so that images can be pulled lazily."""

from __future__ import annotations

from ...words.rules import LazyRules
from .kind import FLAG, SIZE
from .table import ConfigKey, ConfigTable

_HELP = "Whether images that are pushed can be pulled lazily. See lazy.md."
TABLE = ConfigTable("lazy", ("rules", "lazy"), LazyRules, _HELP, (
    ConfigKey("indexes", "Layers that need an index for it get one, attached to the image", FLAG),
    ConfigKey("rate", "Bytes per second of layers that are read for it at most", SIZE),
))  # fmt: skip
