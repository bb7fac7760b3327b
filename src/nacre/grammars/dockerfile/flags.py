"""The `--name=value` flags of an instruction."""

from __future__ import annotations

from .syntax import RawInstruction
from .tokens import Token, did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT, BOOL, LIST = "text", "bool", "list"
_START: dict[str, Any] = {TEXT: Token(""), BOOL: None, LIST: ()}


def read_flags(node: RawInstruction, known: dict[str, str]) -> dict[str, Any]:
    """The flags of `node` by name: a token ("" if absent), a bool (None if absent), a tuple of tokens.

    Raises DockerfileError for a flag that is unknown, given twice, or has no or a wrong value.
    """
    values = {name: _START[kind] for name, kind in known.items()}
    seen = set()
    for flag in node.flags:
        name, equals, text = flag[2:].partition("=")
        kind = _kind(node, flag, name, known)
        if name in seen and kind != LIST:
            raise node.line.error_at(flag, f"duplicate flag specified: --{name}")
        seen.add(name)
        value = Token(text, flag.line, flag.column + len(name) + 3)
        _check(node, flag, kind, bool(equals), value)
        values[name] = _value(kind, value, values[name])
    return values


def _kind(node: RawInstruction, flag: Token, name: str, known: dict[str, str]) -> str:
    if name not in known:
        instruction = node.name.upper()
        hint = did_you_mean(name, tuple(known), "--")
        if not hint and not known:
            hint = f"{instruction} takes no flags"
        raise node.line.error_at(flag, f"unknown flag: --{name[:80]} of {instruction}", hint=hint)
    return known[name]


def _check(node: RawInstruction, flag: Token, kind: str, given: bool, value: Token) -> None:
    name = flag.partition("=")[0]
    if kind == BOOL:
        if given and value.lower() not in ("true", "false"):
            raise node.line.error_at(flag, f"expecting true or false for flag {name}, not {str(value)!r}")
    elif not given:
        raise node.line.error_at(flag, f"missing a value on flag: {name}", hint=f"write {name}=VALUE")


def _value(kind: str, value: Token, before: Any) -> Any:
    if kind == BOOL:
        return value.lower() != "false"
    return (*before, value) if kind == LIST else value
