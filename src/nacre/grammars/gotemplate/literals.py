"""Numbers and quoted text as Go reads them (strconv)."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)"
)
_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_MAX_INT, _MAX_UINT = (1 << 63) - 1, (1 << 64) - 1
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:_\d+)*)?(?:\.(?:\d+(?:_\d+)*)?)?(?:[eE][+-]?\d+)?")


def unquote(text: str) -> str:
    """What a literal in double quotes or backquotes means. Raises ValueError."""
    mark, inside = text[0], text[1:-1]
    return inside.replace("\r", "") if mark == "`" else "".join(map(_char, pieces(inside, mark)))


def character(text: str) -> int:
    """What a literal in single quotes means. Raises ValueError."""
    found = pieces(text[1:-1], "'")
    if not found:
        raise ValueError("invalid syntax")
    if len(found) > 1:
        raise ValueError(f"malformed character constant: {text}")
    return found[0][0]


def pieces(inside: str, mark: str) -> list[tuple[int, bool]]:
    """Code points, or bytes (True), one after another. Raises ValueError."""
    found, at = [], 0
    while at < len(inside):
        if inside[at] != "\\":
            found.append((ord(inside[at]), False))
            at += 1
            continue
        match = _ESCAPE.match(inside, at)
        if match is None or match.end() == at + 1:
            raise ValueError("invalid syntax")
        found.append(_escaped(match, mark))
        at = match.end()
    return found


def _escaped(match: re.Match[str], mark: str) -> tuple[int, bool]:
    simple, octal, byte, *unicode = match.groups()
    if simple:
        if simple in "'\"" and simple != mark:
            raise ValueError("invalid syntax")
        return _SIMPLE[simple], False
    value = int(octal, 8) if octal else int(byte or unicode[0] or unicode[1], 16)
    if (octal and value > 255) or value > 0x10FFFF or (any(unicode) and 0xD800 <= value < 0xE000):
        raise ValueError("invalid syntax")
    return value, bool(octal or byte)


def _char(piece: tuple[int, bool]) -> str:
    value, is_byte = piece
    return bytes([value]).decode("utf-8", "surrogateescape") if is_byte else chr(value)


def number(text: str) -> tuple[int | float, int | None]:
    """The value as its syntax says, and the value as a whole number if it is one. Raises ValueError."""
    if text.endswith("i"):
        raise ValueError(f"complex numbers are not supported: {text}")
    whole = _whole(text)
    if whole is not None:
        if not -_MAX_INT - 1 <= whole <= _MAX_UINT:
            raise ValueError(f'integer overflow: "{text}"')
        return whole, whole
    value = _float(text)
    return value, int(value) if value.is_integer() and abs(value) < 2**63 else None


def _whole(text: str) -> int | None:
    digits = text.lstrip("+-")
    base10 = re.fullmatch(r"0_?[0-7_]*", digits) and digits != "0"
    try:
        value = int(digits.replace("0", "0o", 1) if base10 else digits, 0)
    except ValueError:
        return None
    return -value if text[0] == "-" else value


def _float(text: str) -> float:
    try:
        if text.lstrip("+-")[:2] in ("0x", "0X"):
            return float.fromhex(text) if "p" in text.lower() else float("x")
        return float(text) if _DECIMAL.fullmatch(text) else float("x")
    except (ValueError, OverflowError):
        raise ValueError(f'illegal number syntax: "{text}"') from None
