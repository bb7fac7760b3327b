"""fmt: how Go prints values.

verb = "%" *( "+" | "-" | "#" | " " | "0" ) [ width ] [ "." precision ] letter
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ...words.value import Value
from .values import INVALID, Nil, Struct, is_nil, to_bytes, type_name

_VERB = re.compile(
    r"%([-+# 0]*)((?:\[[^\]]*\])?(?:\*|\d+))?(\.(?:\[[^\]]*\])?(?:\*|\d*))?((?:\[[^\]]*\])?)(.?)", re.DOTALL
)
_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 92: "\\\\"}
_MAX_WIDTH = 1_000_000


class _Form(Value):
    """One verb: `flags` of "-+# 0"; `width` and `precision` None where not given."""

    flags: str = ""
    width: int | None = None
    precision: int | None = None
    verb: str = "v"

    @property
    def sign(self) -> str:
        """What a number without a minus begins with; `+` before v means names of fields."""
        return "+" if "+" in self.flags and self.verb != "v" else " " if " " in self.flags else ""

    def padded(self, text: str, *, zeros: bool = False) -> str:
        missing = (self.width or 0) - len(text)
        if missing <= 0:
            return text
        if "-" in self.flags:
            return text + " " * missing
        if zeros and "0" in self.flags:
            sign = text[:1] if text[:1] in ("+", "-", " ") else ""
            return sign + "0" * missing + text[len(sign) :]
        return " " * missing + text


_PLAIN = _Form()


def sprint(values: Sequence[Any]) -> str:
    """fmt.Sprint: a space between two of which neither is a string."""
    out: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out.append(" ")
        out.append(shown(value))
    return "".join(out)


def shown(value: Any, form: _Form = _PLAIN) -> str:
    """A value by one verb."""
    if form.verb == "T":
        return form.padded("<nil>" if value is None or value is INVALID else type_name(value))
    if value is None or value is INVALID:
        return form.padded("<nil>") if form.verb == "v" else f"%!{form.verb}(<nil>)"
    if isinstance(value, Nil):
        return form.padded("<nil>" if form.verb == "v" else f"%!{form.verb}({value.type}=<nil>)")
    if isinstance(value, Mapping):
        return _mapping(value, form)
    if isinstance(value, list | tuple):
        return _list(value, form)
    return _scalar(value, form)


def _list(value: Sequence[Any], form: _Form) -> str:
    if form.verb == "v" and "#" in form.flags:
        if is_nil(value):
            return f"{type_name(value)}(nil)"
        return f"{type_name(value)}{{{', '.join(_inner(item, form) for item in value)}}}"
    return f"[{' '.join(_inner(item, form) for item in value)}]"


def _inner(value: Any, form: _Form) -> str:
    """Within a list or map nil has no verb."""
    if is_nil(value) and not isinstance(value, list | dict):
        return "interface {}(nil)" if "#" in form.flags and form.verb == "v" else "<nil>"
    return shown(value, form)


def _mapping(value: Mapping[str, Any], form: _Form) -> str:
    if isinstance(value, Struct):
        names = [f"{name}:" if "+" in form.flags else "" for name in value]
        items = map("".join, zip(names, (_inner(item, form) for item in value.values()), strict=True))
        return f"{{{' '.join(items)}}}"
    pairs = sorted(value.items())
    if form.verb == "v" and "#" in form.flags:
        if is_nil(value):
            return f"{type_name(value)}(nil)"
        return f"{type_name(value)}{{{', '.join(f'{shown(k, form)}:{_inner(v, form)}' for k, v in pairs)}}}"
    return f"map[{' '.join(f'{shown(k, form)}:{_inner(v, form)}' for k, v in pairs)}]"


def _scalar(value: Any, form: _Form) -> str:
    table = _STRINGS if isinstance(value, str) else _TABLES.get(type(value), _STRINGS)
    function = table.get(form.verb)
    if function is None:
        return f"%!{form.verb}({type_name(value)}={shown(value, form.replace(verb='v'))})"
    return function(value, form)


def _bool(value: Any, form: _Form) -> str:
    return form.padded("true" if value else "false")


# strings


def _string(value: Any, form: _Form) -> str:
    return form.padded(value if form.precision is None else value[: form.precision])


def _quoted(value: Any, form: _Form) -> str:
    text = value if form.precision is None else value[: form.precision]
    if "#" in form.flags and "`" not in text and all(char == "\t" or char.isprintable() for char in text):
        return form.padded(f"`{text}`")
    return form.padded(quote(text, only_ascii="+" in form.flags))


def _hex_text(value: Any, form: _Form) -> str:
    data = to_bytes(value)[: form.precision]
    mark = f"0{form.verb}" if "#" in form.flags and data else ""
    pairs = [f"{byte:02{form.verb}}" for byte in data]
    text = f" {mark}".join(pairs) if " " in form.flags else "".join(pairs)
    return form.padded(mark + text)


def _string_value(value: Any, form: _Form) -> str:
    return (
        _quoted(value, form.replace(flags=form.flags.replace("#", "")))
        if "#" in form.flags
        else _string(value, form)
    )


def quote(text: str, *, only_ascii: bool = False, mark: str = '"') -> str:
    """Quote `text` as Go's strconv.Quote does."""
    return mark + "".join(_escaped(char, mark, only_ascii) for char in text) + mark


def _escaped(char: str, mark: str, only_ascii: bool) -> str:
    code = ord(char)
    if char == mark:
        return "\\" + char
    if code in _ESCAPES:
        return _ESCAPES[code]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable() and (code < 0x80 or not only_ascii):
        return char
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# numbers


def _digits(letter: str, prefix: str = "") -> Callable[[Any, _Form], str]:
    def function(value: Any, form: _Form) -> str:
        sign = "-" if value < 0 else form.sign
        digits = f"{abs(value):{letter}}"
        if form.precision is not None:
            digits = "" if form.precision == 0 and value == 0 else digits.zfill(form.precision)
            form = form.replace(flags=form.flags.replace("0", ""))
        elif "0" in form.flags and form.width and "-" not in form.flags:
            digits = digits.zfill(form.width - len(sign))
        return form.padded(sign + (prefix if "#" in form.flags or letter == "O" else "") + digits)

    return function


def _octal(value: Any, form: _Form) -> str:
    return _digits("o", "0o")(value, form.replace(flags=form.flags + "#"))


def _character(value: Any, form: _Form) -> str:
    return form.padded(chr(value) if 0 <= value < 0x110000 and not 0xD800 <= value < 0xE000 else "\ufffd")


def _quoted_character(value: Any, form: _Form) -> str:
    char = _character(value, _PLAIN)
    return form.padded(quote(char, mark="'", only_ascii="+" in form.flags))


def _unicode(value: Any, form: _Form) -> str:
    text = f"U+{value:04X}"
    return form.padded(f"{text} '{chr(value)}'" if "#" in form.flags and chr(value).isprintable() else text)


def _float(value: Any, form: _Form) -> str:
    letter = "g" if form.verb == "v" else form.verb
    if value != value or abs(value) == float("inf"):
        text = "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
        return _PLAIN.replace(width=form.width, flags=form.flags.replace("0", "")).padded(
            text.lstrip("" if "+" in form.flags else "+")
        )
    if form.precision is None and letter in "gG":
        text = shortest(value, "g")
    else:
        text = f"{value:.{6 if form.precision is None else form.precision}{letter}}"
    sign = "" if text[0] == "-" else form.sign
    return form.padded(sign + (text.upper() if letter in "EG" else text), zeros=True)


def shortest(value: float, letter: str) -> str:
    """The fewest digits that give the same number: `e` 1.5e+07, `f` 15000000, `g` the one that fits."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    power = point - 1 if value else 0
    if letter == "e" or (letter == "g" and not -4 <= power < 6):
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{'-' * sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02}"
    if point <= 0:
        return f"{'-' * sign}0" + (f".{'0' * -point}{text}" if value else "")
    whole, rest = text[:point].ljust(point, "0"), text[point:]
    return "-" * sign + whole + (f".{rest}" if rest else "")


_Table = Mapping[str, Callable[[Any, _Form], str]]
_STRINGS: _Table = {"v": _string_value, "s": _string, "q": _quoted, "x": _hex_text, "X": _hex_text}
_INTS: _Table = {
    "v": _digits("d"), "d": _digits("d"), "b": _digits("b", "0b"), "o": _digits("o", "0"), "O": _octal,
    "x": _digits("x", "0x"), "X": _digits("X", "0X"), "c": _character, "q": _quoted_character, "U": _unicode,
}  # fmt: skip
_FLOATS: _Table = dict.fromkeys("veEfFgG", _float)
_TABLES: Mapping[type, _Table] = {bool: {"v": _bool, "t": _bool}, int: _INTS, float: _FLOATS}


# printf


def sprintf(format: str, values: Sequence[Any]) -> str:
    """fmt.Sprintf, with its way of telling that verbs and values do not fit."""
    printer = _Printer(values)
    text = _VERB.sub(printer.one, format)
    return text + printer.rest()


class _Printer:
    def __init__(self, values: Sequence[Any]) -> None:
        self.values, self.next, self.jumped = values, 0, False

    def one(self, match: re.Match[str]) -> str:
        flags, width, precision, index, verb = match.groups()
        wide, narrow = self.number(width), 0 if precision == "." else self.number((precision or "")[1:])
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        wrong = ("%!(BADWIDTH)" if wide is _BAD else "") + ("%!(BADPREC)" if narrow is _BAD else "")
        wide, narrow = (None if number is _BAD else number for number in (wide, narrow))
        if not self.jump(index):
            return f"%!{verb}(BADINDEX)"
        if self.next >= len(self.values):
            return f"{wrong}%!{verb}(MISSING)"
        if wide is not None and wide < 0:
            flags, wide = flags + "-", -wide
        value = self.values[self.next]
        self.next += 1
        return wrong + shown(value, _Form(flags, wide, narrow, verb))

    def number(self, written: str | None) -> Any:
        """A width as written, or the next value for `*`."""
        if not written:
            return None
        index, _, digits = written.rpartition("]")
        if index and not self.jump(index + "]"):
            return _BAD
        if not digits:
            return None
        if digits != "*":
            return _bounded(digits, _MAX_WIDTH)
        value = self.values[self.next] if self.next < len(self.values) else None
        self.next += 1
        good = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_WIDTH
        return value if good else _BAD

    def jump(self, index: str) -> bool:
        """`[2]` says which value comes next."""
        if not index:
            return True
        self.jumped = True
        number = _bounded(index[1:-1], len(self.values))
        if number is _BAD or number < 1:
            return False
        self.next = number - 1
        return True

    def rest(self) -> str:
        if self.jumped or self.next >= len(self.values):
            return ""
        extra = [
            "<nil>" if value is None or value is INVALID else f"{type_name(value)}={shown(value)}"
            for value in self.values[self.next :]
        ]
        return f"%!(EXTRA {', '.join(extra)})"


_BAD: Any = object()


def _bounded(digits: str, most: int) -> Any:
    """A number of at most so much, else `_BAD`."""
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(_MAX_WIDTH)):
        return _BAD
    return int(digits) if int(digits) <= most else _BAD
