"""config.toml → Settings, and where in a TOML text a key stands.

    concurrency = 8
    [registry."docker.io"]
    mirrors = ["mirror.example:5000"]

A key that is not known, or a value of the wrong kind, is an error with file, line and what was meant: a
setting that silently does nothing is worse than none.
"""

from __future__ import annotations

import re

from ...words.errors import UsageError
from ...words.lines import lines
from .schema import HOST_KEYS, SECTION, TOP, Wrong, field, section_name
from .settings import RegistrySection, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .schema import Reader

Path = tuple[str, ...]
_AT_LINE = re.compile(r"\(at line (\d+), column (\d+)\)$")


def parse_config(text: str, file: str) -> Settings:
    """Raises UsageError with `file:line`."""
    source = TomlSource(text, file)
    registries = source.table.pop("registry", {})
    if not isinstance(registries, dict):
        raise source.error(("registry",), "registry must be a table", 'write [registry."HOST"]')
    said = source.read(source.table, (), TOP)
    sections = tuple(_section(source, name, fields) for name, fields in registries.items())
    return Settings(sections=sections, **said)


def _section(source: TomlSource, name: str, fields: object) -> RegistrySection:
    path = ("registry", name)
    if not isinstance(fields, dict):
        raise source.error(path, f"registry {name!r} must be a table", f'write [registry."{name}"]')
    try:
        whole = section_name(name)
    except Wrong as wrong:
        raise source.error(path, f"{name!r} is not a registry", f"expected  {wrong}") from None
    if "." in fields or any(isinstance(value, dict) for value in fields.values()):
        hint = 'quote names with dots: [registry."ghcr.io"]'
        raise source.error(path, f"registry {name!r} holds a table", hint)
    said = source.read(fields, path, SECTION)
    for key in HOST_KEYS if "/" in whole else ():
        if field(key) in said:
            host = whole.partition("/")[0]
            hint = f'set it for the host: [registry."{host}"]'
            raise source.error((*path, key), f"{key} applies to a whole host, not to {whole}", hint)
    return RegistrySection(whole, source.place(path), **said)


class TomlSource:
    """A TOML text and the name of its file; places have `columns` or not. Raises UsageError if it is none."""

    def __init__(self, text: str, file: str, *, columns: bool = False) -> None:
        self.file, self._lines, self._columns = file, lines(text), columns
        self.table: dict[str, Any] = {}
        if text:
            self._load(text)

    def _load(self, text: str) -> None:
        from ..toml import read_toml

        try:
            self.table = read_toml(text)
        except ValueError as error:
            found = _AT_LINE.search(str(error))
            line, column = map(int, found.groups()) if found else (max(len(self._lines), 1), 1)
            said = _AT_LINE.sub("", str(error)).strip()
            hint = "this file is TOML: quote strings"
            raise UsageError(f"{self._at((line, column))}: {said}", hint=hint) from None

    def read(self, table: Mapping[str, Any], path: Path, schema: Mapping[str, Reader]) -> dict[str, Any]:
        """The fields that a table sets, each checked."""
        return {field(key): self._value(key, value, path, schema) for key, value in table.items()}

    def _value(self, key: str, value: object, path: Path, schema: Mapping[str, Reader]) -> object:
        if key not in schema:
            import difflib

            near = difflib.get_close_matches(key.replace("_", "-"), schema, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"valid keys are {', '.join(schema)}"
            raise self.error((*path, key), f"unknown key {key!r}", hint)
        try:
            return schema[key](value)
        except Wrong as wrong:
            raise self.error((*path, key), f"{key} is {_shown(value)}, expected {wrong}") from None

    def error(self, path: Path, said: str, hint: str = "") -> UsageError:
        """The error about the key at `path`."""
        return UsageError(f"{self.place(path)}: {said}", hint=hint)

    def place(self, path: Path) -> str:
        """`file:line` of a key, or of the nearest table around it; entries of `[[…]]` are named by number."""
        found = dict(reversed(list(self._keys())))
        near = (path[:end] for end in range(len(path), 0, -1))
        return self._at(next((found[part] for part in near if part in found), (1, 1)))

    def _at(self, place: tuple[int, int]) -> str:
        return f"{self.file}:{place[0]}:{place[1]}" if self._columns else f"{self.file}:{place[0]}"

    def _keys(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Each header and key with its place; lines inside longer values may add what nobody asks for."""
        header: Path = ()
        entries: dict[Path, int] = {}
        for number, line in enumerate(self._lines, 1):
            text = line.strip()
            place = number, len(line) - len(line.lstrip()) + 1
            if text.startswith("["):
                header = path = _path_of(text) or header
                if text.startswith("[["):
                    entries[path] = entries.get(path, -1) + 1
                    header = (*path, str(entries[path]))
                yield path, place
                yield header, place
            elif "=" in text:
                key = _path_of(_before_equals(text) + " = 0")
                if key:
                    yield (*header, *key), place


def _before_equals(text: str) -> str:
    """A key, which may be quoted and hold an equals sign."""
    quote = ""
    for at, char in enumerate(text):
        if char in "\"'" and quote in ("", char):
            quote = "" if quote else char
        elif char == "=" and not quote:
            return text[:at]
    return text


def _path_of(line: str) -> Path:
    """The keys, outermost first, that one line of TOML makes; () for what is none by itself."""
    from ..toml import read_toml

    try:
        table: Any = read_toml(line)
    except ValueError:
        return ()
    path: list[str] = []
    while isinstance(table, (dict, list)) and table:
        if isinstance(table, list):
            table = table[0]
            continue
        key = next(iter(table))
        path.append(key)
        table = table[key]
    return tuple(path)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)[:100]
