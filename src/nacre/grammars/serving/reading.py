"""File, variables and flags → ServingConfig.

What is wrong is an error that names the place: `serve.toml:12:3`, a variable, or a flag.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...words.errors import UsageError
from ...words.rules import ServingConfig
from ..config.schema import Wrong
from ..config.toml import TomlSource
from .kind import PATH
from .table import FILE, NAME, VARIABLES, ConfigKey, ConfigTable, Occurrence
from .tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ...words.value import Value
    from .table import Path

    Said = dict[ConfigKey, Any]
    ReadSecret = Callable[[str], str]

T = TypeVar("T")


class ConfigSources(NamedTuple):
    """What is said where: the text and name of a file ("" if there is none), variables of the environment,
    and flags by their key, only those that were given.
    """

    text: str = ""
    file: str = ""
    variables: Mapping[str, str] = {}
    flags: Mapping[str, object] = {}


def read_config(sources: ConfigSources, secret: ReadSecret) -> ServingConfig:
    """`secret` gives the content of the file that a key like `password-file` names. Raises UsageError."""
    return _ConfigReader(sources, secret).config()


class _ConfigReader:
    def __init__(self, sources: ConfigSources, secret: ReadSecret) -> None:
        self._sources, self._secret = sources, secret
        self._source = TomlSource(sources.text, sources.file, columns=True)
        self._variables = {
            name: value for name, value in sources.variables.items() if name.startswith(VARIABLES)
        }

    def config(self) -> ServingConfig:
        self._check_tables()
        found = ServingConfig()
        for table in TABLES:
            content = self._source.table.get(table.name)
            if table.occurrence is Occurrence.ONCE:
                found = self._once(found, table, content or {})
            elif content:
                found = _changed(
                    found, table.at[:-1], ServingConfig, {table.at[-1]: self._several(table, content)}
                )
        self._check_variables()
        return found

    def _check_tables(self) -> None:
        known = {table.name: table for table in TABLES}
        for name, content in self._source.table.items():
            if name not in known:
                shown = f"table [{name}]" if isinstance(content, (dict, list)) else f"key {name!r}"
                raise self._source.error((name,), f"unknown {shown}", _meant(name, known))
            wanted = list if known[name].occurrence is Occurrence.LISTED else dict
            if not isinstance(content, wanted):
                hint = f"write {known[name].title}"
                raise self._source.error((name,), f"{name} is no table of this kind", hint)

    def _once(self, config: ServingConfig, table: ConfigTable, content: Mapping[str, Any]) -> ServingConfig:
        in_file = self._from_file(table, (table.name,), content)
        said = in_file | self._from_variables(table) | self._from_flags(table)
        if not said and table.name not in self._source.table:
            return config

        def made() -> ServingConfig:
            changed = config
            for at in {table.place(key): None for key in (*said, *table.keys)}:
                fields = {key.target: value for key, value in said.items() if table.place(key) == at}
                self._check_needed(table, at, fields)
                changed = _changed(changed, at, table.value, fields)
            return changed

        return self._placed((table.name,) if said == in_file else (), made)

    def _check_needed(self, table: ConfigTable, at: Path, fields: Mapping[str, Any]) -> None:
        for key in table.keys:
            if (
                table.place(key) == at
                and key.target not in fields
                and not hasattr(table.holder(key), key.target)
            ):
                raise UsageError(f"{table.title} needs {key.name}")

    def _several(self, table: ConfigTable, content: Any) -> tuple[Value, ...]:
        """Of a list of tables, or of tables by name."""
        entries = enumerate(content) if isinstance(content, list) else content.items()
        return tuple(self._entry(table, name, entry) for name, entry in entries)

    def _entry(self, table: ConfigTable, name: object, entry: object) -> Value:
        path = (table.name, str(name))
        if not isinstance(entry, dict):
            raise self._source.error(path, f"{table.name} holds no table", f"write {table.title}")
        fields = {NAME: name} if table.occurrence is Occurrence.NAMED else {}
        fields |= {key.target: value for key, value in self._from_file(table, path, entry).items()}

        def made() -> Value:
            self._check_needed(table, table.at, fields)
            return table.value(**fields)

        return self._placed(path, made)

    def _placed(self, path: Path, made: Callable[[], T]) -> T:
        """Its errors are said with the place; () where it is not only the file that says it."""
        try:
            return made()
        except UsageError as error:
            if not path:
                raise
            raise self._source.error(path, error.message, error.hint) from None

    def _from_file(self, table: ConfigTable, path: Path, content: Mapping[str, Any]) -> Said:
        known, found = _keys(table), {}
        for name, value in content.items():
            place = (*path, name)
            if name not in known:
                raise self._source.error(place, f"unknown key {name!r} in {table.title}", _meant(name, known))
            key, at = known[name], f"{self._source.place(place)}: {name}"
            if key in found:
                raise self._source.error(place, f"both {key.name} and {key.name}{FILE} are set")
            found[key] = self._value(key, value, at, os.path.dirname(self._sources.file))
        return found

    def _from_variables(self, table: ConfigTable) -> Said:
        found = {}
        for name, key in _keys(table).items():
            variable = table.variable(name)
            if variable in self._variables:
                found[key] = self._value(key, self._variables.pop(variable), variable, "")
        return found

    def _from_flags(self, table: ConfigTable) -> Said:
        flags = self._sources.flags
        return {
            key: self._value(key, flags[key.flag], f"--{key.flag.replace('_', '-')}", "")
            for key in table.keys
            if key.flag in flags
        }

    def _value(self, key: ConfigKey, value: object, at: str, folder: str) -> object:
        """`at` names the place and the key; with `-file` the value is the name of a file."""
        is_file = key.is_secret and at.lower().replace("_", "-").endswith(FILE)
        try:
            read = (PATH if is_file else key.kind).read(value)
            if (is_file or key.kind is PATH) and read:
                read = os.path.join(folder, str(read))
            return key.kind.read(self._secret(str(read)).rstrip("\r\n")) if is_file else read
        except Wrong as wrong:
            shown = "something else" if key.is_secret else _shown(value)
            raise UsageError(f"{at} is {shown}, expected {wrong}") from None

    def _check_variables(self) -> None:
        once = [table for table in TABLES if table.occurrence is Occurrence.ONCE]
        for name in self._variables:
            known = [table.variable(written) for table in once for written in _keys(table)]
            raise UsageError(f"unknown variable {name}", hint=_meant(name, known))


def _changed(value: Any, path: Path, kind: type[Value], fields: Mapping[str, Any]) -> Any:
    """`value` with other fields in what `path` leads to, which is made where it is None."""
    if path:
        return value.replace(**{path[0]: _changed(getattr(value, path[0]), path[1:], kind, fields)})
    return kind(**fields) if value is None else value.replace(**fields)


def _keys(table: ConfigTable) -> dict[str, ConfigKey]:
    """By all the names that they may be written with."""
    files = {key.name + FILE: key for key in table.keys if key.is_secret}
    return {key.name: key for key in table.keys} | files


def _meant(name: str, known: Iterable[str]) -> str:
    import difflib

    sought = name if name.isupper() else name.replace("_", "-").lower()
    if near := difflib.get_close_matches(sought, known, 1, 0.6):
        return f"did you mean {near[0]}?"
    listed = list(known)
    return f"there are {', '.join(listed)}" if len(listed) < 30 else ""


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)[:100]
