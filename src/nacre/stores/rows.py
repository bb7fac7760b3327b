"""Can every value in a registry's database be what it is? A bit that flips on the disk makes others.

What can be seen of a row alone is looked at here; `integrity` holds rows of manifests and blobs against the
content. With a repair, rows go that cannot be, where they name nothing or only what the content says too.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ..grammars.wire.routes import is_name, is_tag
from ..words.digest import ALGORITHMS, Digest
from ..words.errors import InvalidName, StoreError
from .accounts.model import Role
from .catalog.values import is_digest, is_media_type, is_record, is_size, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .catalog import Catalog

    Kind = Callable[[Any], bool]
    Row = tuple[Any, ...]


class WrongValue(NamedTuple):
    """What `column` in a row cannot be; `row` is its key, with names of repositories. `column` "": `value`
    says what is wrong with the row, or with all where there is none. `mended`: what a repair did.
    """

    table: str
    row: str
    column: str
    value: str
    mended: str = ""

    @property
    def problem(self) -> str:
        """What is wrong, in one line."""
        if not self.row:
            return f"{self.table}: {' '.join(self.value.split())}"
        what = f"{self.column} cannot be {self.value}" if self.column else self.value
        return f"row of {self.table} {self.row}: {what}"


def _text(value: object) -> bool:
    return isinstance(value, str)


def _time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1 << 53


def _flag(value: object) -> bool:
    return value in (0, 1)


def _name(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


def _tag(value: object) -> bool:
    return isinstance(value, str) and is_tag(value)


def _named(value: object) -> bool:
    """A digest, also of an algorithm that is not registered: a document may name one."""
    try:
        return isinstance(value, str) and bool(Digest.named(value))
    except InvalidName:
        return False


def _none_or(kind: Kind) -> Kind:
    return lambda value: value == "" or kind(value)


def _absent_or(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def _one_of(*words: object) -> Kind:
    return lambda value: value in words


def _json(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(json.loads(value) or True)
    except (ValueError, RecursionError):
        return False


def _hex(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


_ROLE = _one_of(*Role)
TABLES: dict[str, tuple[int, dict[str, Kind]]] = {
    "repositories": (1, {"id": is_size, "name": _name}),
    "blobs": (2, {"repository": is_size, "digest": is_digest, "size": is_size, "added": _time}),
    "manifests": (2, {
        "repository": is_size, "digest": is_digest, "size": is_size, "media_type": is_media_type,
        "subject": _none_or(_named), "artifact_type": _text, "annotations": is_record, "added": _time}),
    "parts": (3, {"repository": is_size, "manifest": is_digest, "digest": _named}),
    "tags": (2, {"repository": is_size, "tag": _tag, "digest": is_digest, "updated": _time}),
    "uploads": (1, {
        "id": _text, "repository": _name, "touched": _time, "owner": _text, "received": is_size,
        "algorithm": _one_of(*ALGORITHMS)}),
    "unused": (3, {
        "repository": is_size, "digest": is_digest, "kind": _one_of("blobs", "manifests"), "since": _time}),
    "removed": (1, {
        "id": is_size, "at": _time, "actor": _text, "repository": _name,
        "kind": _one_of("tag", "manifest", "blob", "repository"), "tag": _none_or(_tag),
        "digest": _none_or(is_digest), "size": is_size, "record": _none_or(_json)}),
    "contents": (1, {
        "digest": is_digest, "key": _text, "size": is_size, "tag": _text, "damaged": _flag}),
    "activity": (1, {
        "id": is_size, "at": _time, "actor": _text, "client": _text, "action": _text, "repository": _text,
        "reference": _text, "digest": _text, "former": _text, "trace": _text}),
    "descriptions": (1, {
        "repository": is_size, "summary": _text, "readme": _text, "updated": _time, "author": _text}),
    "quotas": (1, {"namespace": _text, "most": is_size, "used": is_size, "counted": _time}),
    "marks": (1, {"name": _text, "value": _text}),
    "cached": (1, {"repository": is_size, "upstream": _text}),
    "used": (2, {"repository": is_size, "digest": is_digest, "used": _time}),
    "users": (1, {
        "id": is_size, "name": _text, "password": _text, "administrator": _flag, "robot": _flag,
        "disabled": _flag, "created": _time}),
    "teams": (1, {"id": is_size, "name": _text}),
    "grants": (1, {
        "id": is_size, "namespace": _text, "role": _ROLE, "user": _absent_or(is_size),
        "team": _absent_or(is_size)}),
    "namespaces": (1, {"name": _text, "public": _absent_or(_flag), "immutable": _text}),
    "tokens": (1, {
        "id": is_size, "user": is_size, "secret": _hex, "role": _ROLE, "namespace": _text, "created": _time,
        "expires": _time}),
    "trusts": (1, {
        "id": is_size, "issuer": _text, "audience": _text, "claims": is_record, "namespace": _text,
        "role": _ROLE, "seconds": _time, "created": _time}),
}  # fmt: skip
"""Of each table how many of its columns, the first, are its key, and what each must be."""

_GOES = frozenset({"blobs", "manifests", "parts", "tags", "uploads", "unused", "removed", "used", "marks"})
"""Rows that a repair removes: the content says the same, a push brings it again, or it is looked up anew."""
_MADE_AGAIN = {"blobs": {"size", "added"}, "manifests": {"size", "media_type", "subject", "artifact_type",
               "annotations", "added"}}  # fmt: skip
"""Columns that a repair writes again, so that the row stays."""


class RowCheck:
    """One look at all rows."""

    def __init__(self, catalog: Catalog, *, repair: bool = False) -> None:
        self._catalog, self._repair = catalog, repair
        self._names: dict[int, str] = {}

    def run(self) -> list[WrongValue]:
        """Values that cannot be, and what the database finds itself."""
        return [*self._file(), *(each for table in TABLES for each in self._table(table))]

    def _file(self) -> Iterator[WrongValue]:
        problems, mended = self._catalog.problems(), ""
        if problems and self._repair:
            with suppress(StoreError):
                self._catalog.rebuild_indexes()
                mended = "" if self._catalog.problems() else "indexes made again"
        for problem in problems:
            yield WrongValue("database", "", "", problem, mended)

    def _table(self, table: str) -> Iterator[WrongValue]:
        keys, kinds = TABLES[table]
        columns = list(kinds)
        try:
            wrong = list(self._rows(table, kinds))
        except StoreError as error:
            yield WrongValue(f"rows of {table}", "", "", error.message)
            return
        for row, bad in wrong:
            mended = self._mend(table, dict(zip(columns[:keys], row, strict=False)), bad)
            for each in bad:
                value = shown(row[columns.index(each)])
                yield WrongValue(table, self._key(columns, row, keys), each, value, mended)

    def _rows(self, table: str, columns: dict[str, Kind]) -> Iterator[tuple[Row, list[str]]]:
        """Each with the columns that are wrong."""
        kinds = list(columns.items())
        keys = TABLES[table][0]
        for row in self._catalog.every(table, list(columns), keys):
            bad = [
                column for (column, is_right), value in zip(kinds, row, strict=True) if not is_right(value)
            ]
            if table == "repositories" and not bad:
                self._names[row[0]] = row[1]
            if bad:
                yield row, bad

    def _key(self, columns: list[str], row: Row, keys: int) -> str:
        """The key of a row, and what people call it by where the key is a number."""
        words = []
        for number, (column, value) in enumerate(zip(columns, row, strict=True)):
            known = self._names.get(value) if column == "repository" else None
            if number < keys or column in ("name", "namespace"):
                words.append(known or (value if isinstance(value, str) else shown(value)))
        return " ".join(words)

    def _mend(self, table: str, key: dict[str, object], bad: list[str]) -> str:
        if not self._repair or table not in _GOES or _MADE_AGAIN.get(table, set()).issuperset(bad):
            return ""
        where = " AND ".join(f'CAST("{c}" AS BLOB) = ?' if isinstance(v, bytes) else f'"{c}" = ?'
                             for c, v in key.items())  # fmt: skip
        sql, values = f"DELETE FROM {table} WHERE {where}", list(key.values())
        with suppress(StoreError):
            return "removed" if self._catalog.change(lambda db: db.execute(sql, values).rowcount) else ""
        return ""
