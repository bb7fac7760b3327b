"""The headings of a table that a template makes."""

from __future__ import annotations

from collections.abc import Mapping

from ..grammars.gotemplate import Struct


class Headings(Struct):
    """Every field has a heading: the one given, else its name in words (docker/cli, SubHeaderContext)."""

    def __init__(self, named: Mapping[str, str]) -> None:
        super().__init__(named, methods={"Label": _label})

    def field(self, name: str) -> str:
        """`Names` as given, `CreatedAt` as `CREATED AT`."""
        return self[name] if name in self else _spaced(name).upper()


def _label(_headings: Headings, name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _spaced(field: str) -> str:
    pieces = [
        " " + char if char.isupper() and index and not field[index - 1].isupper() else char
        for index, char in enumerate(field)
    ]
    return "".join(pieces)
