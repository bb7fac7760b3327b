"""`[protocol]`: what the registry does where the protocol leaves the choice."""

from __future__ import annotations

from ...words.rules import RegistryRules
from .kind import FLAG
from .table import ConfigKey, ConfigTable

_HELP = "What the registry does where the protocol leaves the choice."
TABLE = ConfigTable("protocol", ("rules",), RegistryRules, _HELP, (
    ConfigKey("sparse", "Accept manifests whose content is not all there", FLAG, flag="sparse"),
    ConfigKey("delete-children", "Delete with an index the manifests that nothing else names", FLAG,
              "children", "delete_children"),
    ConfigKey("warning", "What clients should tell their users", flag="warning"),
))  # fmt: skip
