"""Bake files as bodies: attributes and blocks, whose expressions are not evaluated yet.

Files in HCL are read by python-hcl2, of which only the syntax tree is taken. In JSON, objects are blocks
and strings are templates. Source: HCL native syntax and JSON syntax specifications.
"""

from __future__ import annotations

import json

from ...words.errors import InvalidDocument, Unsupported
from ...words.value import Value
from .template import quoted
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MOST = 1 << 20
"""Bytes of a file."""

LABELED = ("group", "target", "variable", "function")


class SourcePlace(Value):
    """Where something stands: lines and columns count from 1, 0 is not known."""

    file: str
    line: int = 0
    column: int = 0

    def wrong(self, why: str) -> InvalidDocument:
        """The error to raise."""
        at = f":{self.line}:{self.column}" if self.line else ""
        return InvalidDocument(f"{self.file}{at}: {why}")


class Expression:
    """A syntax tree of HCL, or a value of JSON that is one yet to be read."""

    def __init__(self, place: SourcePlace, tree: Any) -> None:
        self.place, self._tree = place, tree

    @property
    def tree(self) -> Any:
        """A tree of lark; or None, a bool or a number, which are what they are. Raises InvalidDocument."""
        if isinstance(self._tree, str):
            self._tree = _template(self._tree, self.place)
        return self._tree

    def items(self) -> dict[str, Expression] | list[Expression] | None:
        """What stands in an object or a list of JSON; None for all else."""
        if isinstance(self._tree, dict):
            return {name: Expression(self.place, value) for name, value in self._tree.items()}
        if isinstance(self._tree, list):
            return [Expression(self.place, value) for value in self._tree]
        return None


class Block(Value):
    """`kind` label { … }."""

    kind: str
    label: str
    body: HclBody
    place: SourcePlace


class HclBody:
    """The content of a file or a block."""

    def __init__(self) -> None:
        self.attributes: dict[str, Expression] = {}
        self.blocks: list[Block] = []


def parse(data: bytes, name: str) -> HclBody:
    """A file by its name, in JSON or HCL; without an end that says so, what it can be read as.

    Raises InvalidDocument, Unsupported where the parser is not installed.
    """
    text = _decoded(data, name)
    if name.endswith(".json") or (not name.endswith(".hcl") and text.lstrip().startswith("{")):
        return _json(text, name)
    return _hcl(text, name)


def _decoded(data: bytes, name: str) -> str:
    if len(data) > MOST:
        raise InvalidDocument(f"{name} has more than {MOST} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidDocument(f"{name} is not UTF-8") from None


# JSON


def _json(text: str, name: str) -> HclBody:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourcePlace(name, error.lineno, error.colno).wrong(f"not valid JSON: {error.msg}") from None
    except RecursionError:
        raise SourcePlace(name).wrong("not valid JSON: it is nested too deeply") from None
    if not isinstance(document, dict):
        raise SourcePlace(name).wrong("not an object")
    return _json_body(document, SourcePlace(name))


def _json_body(document: dict[str, Any], place: SourcePlace) -> HclBody:
    body = HclBody()
    for name, value in document.items():
        if name in LABELED:
            body.blocks += _json_blocks(name, value, place)
        else:
            body.attributes[name] = Expression(place, value)
    return body


def _json_blocks(kind: str, value: Any, place: SourcePlace) -> Iterator[Block]:
    """`{label: content}`, or a list of such."""
    for group in value if isinstance(value, list) else [value]:
        if not isinstance(group, dict):
            raise place.wrong(f"{kind} is not an object")
        for label, contents in group.items():
            for content in contents if isinstance(contents, list) else [contents]:
                yield _json_block(kind, label, content, place)


def _json_block(kind: str, label: str, content: Any, place: SourcePlace) -> Block:
    if not isinstance(content, dict):
        raise place.wrong(f"{kind} {label} is not an object")
    body = HclBody()
    for name, value in content.items():
        if kind == "variable" and name == "validation":
            body.blocks += [
                _json_block(name, "", each, place) for each in (value if isinstance(value, list) else [value])
            ]
        else:
            body.attributes[name] = Expression(place, value)
    return Block(kind, label, body, place)


def _template(text: str, place: SourcePlace) -> Any:
    try:
        source = quoted(text)
    except BadValue as error:
        raise place.wrong(str(error)) from None
    return expression(source, place)


# HCL


def expression(source: str, place: SourcePlace) -> Any:
    """The tree of one expression, which stands at `place`. Raises InvalidDocument, Unsupported."""
    body = _tree(f"v = {source}", place.file, place).children[0]
    return body.children[0].children[-1]


def _hcl(text: str, name: str) -> HclBody:
    found = _tree(text, name).children
    return _body(found[0], name) if found else HclBody()


def _tree(text: str, name: str, place: SourcePlace | None = None) -> Any:
    try:
        import hcl2
        from lark.exceptions import LarkError, UnexpectedInput
    except ImportError:
        raise Unsupported(
            f"{name} is HCL, which needs python-hcl2",
            hint="pip install nacre-oci[bake], or write the file as JSON",
        ) from None
    try:
        return hcl2.parses_to_tree(text)
    except UnexpectedInput as error:
        where = place or SourcePlace(name, max(error.line, 0), max(error.column, 0))
        raise where.wrong(f"invalid HCL{_near(text, error.pos_in_stream)}") from None
    except (LarkError, RecursionError):
        raise (place or SourcePlace(name)).wrong("invalid HCL") from None


def _near(text: str, at: int | None) -> str:
    line = text[at:].split("\n", 1)[0].strip()[:40] if at is not None and at >= 0 else ""
    return f" near {line!r}" if line else ""


def _body(tree: Any, name: str) -> HclBody:
    body = HclBody()
    for child in tree.children:
        if child.data == "attribute":
            key = _name(child.children[0])
            if key in body.attributes:
                raise place_of(child, name).wrong(f"{key} stands twice")
            value = child.children[-1]
            body.attributes[key] = Expression(place_of(value, name), value)
        elif child.data == "block":
            body.blocks.append(_block(child, name))
    return body


def _block(tree: Any, name: str) -> Block:
    named = [
        child for child in tree.children if getattr(child, "data", "") not in ("", "new_line_or_comment")
    ]
    *heads, content = named
    place = place_of(tree, name)
    words = [_name(head) for head in heads]
    if len(words) != (1 if words[0] == "validation" else 2):
        raise place.wrong(f'{words[0]} needs one name, like {words[0]} "x"')
    return Block(words[0], words[1] if len(words) > 1 else "", _body(content, name), place)


def _name(tree: Any) -> str:
    """An identifier, or a label in quotes."""
    if tree.data == "string":
        return "".join(str(part.children[0]) for part in tree.children[1:-1])
    return str(tree.children[0])


def place_of(tree: Any, name: str) -> SourcePlace:
    """Where a tree begins."""
    meta = getattr(tree, "meta", tree)
    return SourcePlace(name, getattr(meta, "line", 0) or 0, getattr(meta, "column", 0) or 0)
