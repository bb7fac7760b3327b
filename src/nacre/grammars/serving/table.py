"""What may stand in the configuration: tables of keys, and the values that come of them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from ...words.rules import ServingConfig
from .kind import SECRET, TEXT, ValueKind

if TYPE_CHECKING:
    from ...words.value import Value

    Path = tuple[str, ...]

VARIABLES = "NACRE_SERVE_"
"""How the variables begin that say what the file could."""
FILE = "-file"
NAME = "name"
"""The field that gets the name of a table that comes by name."""


class Occurrence(Enum):
    """How often a table comes."""

    ONCE = "[{}]"
    LISTED = "[[{}]]"
    NAMED = '[{}."NAME"]'


class ConfigKey(NamedTuple):
    """`field` of the value; unless it is said, the key with `_` for `-`. `flag` of `registry serve`.

    `at`: where the value is, if it is not the one of the table.
    """

    name: str
    help: str
    kind: ValueKind = TEXT
    field: str = ""
    flag: str = ""
    at: Path | None = None

    @property
    def target(self) -> str:
        """The field of the value."""
        return self.field or self.name.replace("-", "_")

    @property
    def is_secret(self) -> bool:
        """Is it never shown, and may it come as a file?"""
        return self.kind is SECRET


class ConfigTable(NamedTuple):
    """One table of the file. `value` is the class of what comes of it, `at` the fields that lead there from
    ServingConfig.
    """

    name: str
    at: Path
    value: type[Value]
    help: str
    keys: tuple[ConfigKey, ...]
    occurrence: Occurrence = Occurrence.ONCE

    @property
    def title(self) -> str:
        """As it stands in the file."""
        return self.occurrence.value.format(self.name)

    def place(self, key: ConfigKey) -> Path:
        """The fields that lead to the value that has the key, of a table that comes once."""
        return self.at if key.at is None else key.at

    def variable(self, name: str) -> str:
        """The variable that says what a key of a table that comes once does."""
        return f"{VARIABLES}{self.name}_{name}".replace("-", "_").upper()

    def holder(self, key: ConfigKey) -> object:
        """What has the default of a key: a value, or the class where there is none yet."""
        if self.occurrence is Occurrence.ONCE:
            return found_at(ServingConfig(), self.place(key)) or self.value
        return self.value

    def default(self, key: ConfigKey) -> object:
        """What holds unless it is said; None where it must be."""
        return getattr(self.holder(key), key.target, None)


def found_at(value: Value, path: Path) -> Value | None:
    """The value that fields lead to."""
    found: Value | None = value
    for name in path:
        found = getattr(found, name)
    return found
