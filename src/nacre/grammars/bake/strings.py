"""Functions of strings in bake files. Source: go-cty, function/stdlib; buildx, hclparser/stdlib."""

from __future__ import annotations

import posixpath
import re

from .values import BadValue, listed, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_PATTERN = 1000
_VERB = re.compile(r"%(\[\d+\])?([-+# 0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])")


def _substring(value: Any, offset: Any, length: Any) -> str:
    """From `offset`, negative from the end; -1 for all of the rest."""
    whole, start, size = text(value), int(number(offset)), int(number(length))
    start = start + len(whole) if start < 0 else start
    return whole[start:] if size < 0 else whole[start : start + size]


def _title(value: Any) -> str:
    return re.sub(r"(^|[^\w'])(\w)", lambda found: found[1] + found[2].upper(), text(value))


def _indent(spaces: Any, value: Any) -> str:
    return text(value).replace("\n", "\n" + " " * int(number(spaces)))


def _pattern(written: Any) -> re.Pattern[str]:
    source = text(written)
    if len(source) > _LONGEST_PATTERN:
        raise BadValue(f"a pattern of more than {_LONGEST_PATTERN} characters")
    try:
        return re.compile(source)
    except re.error as error:
        raise BadValue(f"invalid pattern {source[:40]!r}: {error}") from None


def _groups(found: re.Match[str]) -> Any:
    """The whole without groups, an object of named ones, a list of others."""
    if found.re.groupindex:
        return dict(found.groupdict())
    return list(found.groups()) if found.re.groups else found[0]


def _regex(pattern: Any, value: Any) -> Any:
    found = _pattern(pattern).search(text(value))
    if not found:
        raise BadValue("the pattern did not match")
    return _groups(found)


def _regex_replace(value: Any, pattern: Any, new: Any) -> str:
    """`$1` and `${name}` in `new` are groups, as in Go."""
    compiled, template = _pattern(pattern), text(new)

    def replaced(found: re.Match[str]) -> str:
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda name: _group(found, name[1] or name[2]), template)

    return compiled.sub(replaced, text(value))


def _group(found: re.Match[str], name: str) -> str:
    try:
        return found[int(name) if name.isdecimal() else name] or ""
    except IndexError:
        return ""


def _format(form: Any, *given: Any) -> str:
    """%s %d %f %t %v %q %x and the like; `%[2]s` takes the second. Raises BadValue."""
    template, used = text(form), 0

    def verb(found: re.Match[str]) -> str:
        nonlocal used
        if found[5] == "%":
            return "%"
        used = int(found[1][1:-1]) if found[1] else used + 1
        if not 0 < used <= len(given):
            raise BadValue(f"not enough arguments for {found[0]} of format()")
        return _formatted(found, given[used - 1])

    done = _VERB.sub(verb, template)
    if used < len(given) and "%[" not in template:
        raise BadValue("too many arguments for format()")
    return done


def _formatted(found: re.Match[str], value: Any) -> str:
    flags, width, digits, letter = found[2], int(found[3] or 0), found[4], found[5]
    if width > _LONGEST_PATTERN:
        raise BadValue(f"{found[0]} is too wide")
    shown = _shown(letter, value, digits)
    if "+" in flags and letter in "dfeg" and not shown.startswith("-"):
        shown = "+" + shown
    if "-" in flags:
        return shown.ljust(width)
    return shown.zfill(width) if "0" in flags and letter in "dfegx" else shown.rjust(width)


def _shown(letter: str, value: Any, digits: str | None) -> str:
    if letter in "sv":
        return (_any if letter == "v" else text)(value)[: int(digits) if digits else None]
    if letter in "feEgG":
        return f"{float(number(value)):.{int(digits or 6)}{letter}}"
    if letter in "dboxX":
        return format(int(number(value)), letter)
    if letter == "t":
        return text(value)
    if letter == "q":
        return _any(text(value), is_quoted=True)
    raise BadValue(f"%{letter} is not known to format()")


def _any(value: Any, *, is_quoted: bool = False) -> str:
    from .encodings import encode_json

    return text(value) if isinstance(value, str | int | float) and not is_quoted else encode_json(value)


def _format_list(form: Any, *given: Any) -> list[str]:
    """`format` for each element of the lists among the arguments, which are of one length."""
    lengths = {len(each) for each in given if isinstance(each, list)}
    if len(lengths) > 1:
        raise BadValue("the lists of formatlist() have different lengths")
    rows = range(lengths.pop() if lengths else 1)
    return [_format(form, *(each[row] if isinstance(each, list) else each for each in given)) for row in rows]


def _replace(value: Any, old: Any, new: Any) -> str:
    whole, after = text(value), text(new)
    if len(whole) * max(len(after), 1) > 1 << 24:
        raise BadValue("the result of replace() is too long")
    return whole.replace(text(old), after)


def _sanitize(value: Any) -> str:
    return "".join(char if char in _NAME else "_" for char in text(value))


def _base(value: Any) -> str:
    """As Go's path.Base: "." for "", and "/" for nothing but slashes."""
    path = text(value)
    return posixpath.basename(path.rstrip("/")) or ("/" if path else ".")


def _folder(value: Any) -> str:
    """The same as Go's path.Dir."""
    head = posixpath.dirname(text(value))
    return posixpath.normpath(head) if head else "."


def _trimmed(value: Any, characters: Any) -> str:
    return text(value).strip(text(characters))


TABLE: Mapping[str, Callable[..., Any]] = {
    "upper": lambda value: text(value).upper(),
    "lower": lambda value: text(value).lower(),
    "title": _title,
    "strlen": lambda value: len(text(value)),
    "substr": _substring,
    "reverse": lambda value: text(value)[::-1],
    "join": lambda by, *given: text(by).join(text(each) for some in given for each in listed(some)),
    "split": lambda by, value: text(value).split(text(by)) if text(by) else list(text(value)),
    "replace": _replace,
    "trim": _trimmed,
    "trimprefix": lambda value, start: text(value).removeprefix(text(start)),
    "trimsuffix": lambda value, end: text(value).removesuffix(text(end)),
    "trimspace": lambda value: text(value).strip(),
    "chomp": lambda value: text(value).rstrip("\r\n"),
    "indent": _indent,
    "format": _format,
    "formatlist": _format_list,
    "regex": _regex,
    "regexall": lambda pattern, value: [_groups(found) for found in _pattern(pattern).finditer(text(value))],
    "regex_replace": _regex_replace,
    "sanitize": _sanitize,
    "basename": _base,
    "dirname": _folder,
}
