"""The configuration of a registry that is served: a TOML file, variables and flags → one value, no I/O.

    [garbage]                    NACRE_SERVE_GARBAGE_GRACE=12h                --gc-grace 12h
    grace = "24h"

Flags win over variables, variables over the file. A key or a table that is not known, and a value of the
wrong kind, are errors with file, line and column, and with what was meant.

    kind        how values are read and written: text, numbers, sizes, durations, secrets …
    table       ConfigKey and ConfigTable: what may stand in the file, and which field of ServingConfig it is
    tables      the list of all tables
    reading     file, variables and flags → ServingConfig
    writing     ServingConfig → the file that says the same, without secrets

A part of the registry that wants to be configured adds a `Value` to `words.rules`, as a field of
RegistryRules; here a module with a `TABLE`, and a line in `tables`; then it lets
`python tests/docs/test_registry_config_page.py` write the page of keys. A table comes once (`[garbage]`: the
field is a value), in a list (`[[retention]]`: a tuple), or by name (`[upstreams."docker.io"]`: a tuple of
values with a `name`).
"""

from __future__ import annotations

from .reading import ConfigSources, read_config
from .writing import written

__all__ = ["ConfigSources", "read_config", "written"]
