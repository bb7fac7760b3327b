"""How the registry client is told what to do: text of several kinds of files ⇄ one value, no I/O.

settings   Settings, Section, Route: what is said of registries, and what follows for a name
schema     the keys of config.toml and of the variables, with their kinds
toml       config.toml → Settings; errors carry file and line, and what was meant
foreign    containers' registries.conf and docker's daemon.json → Settings

Most machines have none of these files, so what reads them is loaded by whoever has found one.
"""

from __future__ import annotations

from .schema import from_variables
from .settings import MirrorSettings, RegistryRoute, RegistrySection, RegistryTarget, Settings

__all__ = [
    "MirrorSettings",
    "RegistryRoute",
    "RegistrySection",
    "Settings",
    "RegistryTarget",
    "from_variables",
]
