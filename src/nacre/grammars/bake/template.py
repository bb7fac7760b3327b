"""Templates that do not stand in quotes: text of JSON files, and here-documents.

    template = *( character | "$${" | "%%{" | "${" expression "}" | "%{" directive "}" )

They are turned into quoted ones, which the HCL parser reads: what is outside of `${…}` and `%{…}` is
escaped, what is inside stays. Source: HCL native syntax specification, "Template expressions"; JSON
syntax specification, "Strings".
"""

from __future__ import annotations

from .values import BadValue

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quoted(template: str) -> str:
    """The same template as a quoted string of HCL. Raises BadValue for `${` without an end."""
    out, at = ['"'], 0
    while at < len(template):
        start = _opening(template, at)
        out.append(template[at:start].translate(_ESCAPES))
        at = start
        if start < len(template):
            at = _end(template, start + 2)
            out.append(template[start:at])
    return "".join(out) + '"'


def _opening(template: str, at: int) -> int:
    """Where the next `${` or `%{` is that is not escaped by a second sign; the length for none."""
    while at < len(template):
        if template[at] in "$%" and template[at + 1 : at + 2] == "{":
            return at
        at += 3 if template[at : at + 3] in ("$${", "%%{") else 1
    return len(template)


def _end(template: str, at: int) -> int:
    """Behind the brace that closes what was opened just before `at`."""
    depth = 1
    while at < len(template):
        char = template[at]
        if char == '"':
            at = _string_end(template, at + 1)
            continue
        depth += (char == "{") - (char == "}")
        at += 1
        if not depth:
            return at
    raise BadValue("a template has no closing brace")


def _string_end(template: str, at: int) -> int:
    """Behind the quote that ends a string begun just before `at`."""
    while at < len(template) and template[at] != '"':
        if template[at] == "\\":
            at += 2
        elif template[at] in "$%" and template[at + 1 : at + 2] == "{":
            at = _end(template, at + 2)
        else:
            at += 1
    return at + 1


def unescaped(text: str) -> str:
    """What the characters of a quoted string stand for. Raises BadValue."""
    if "\\" not in text:
        return text
    out, at = [], 0
    while at < len(text):
        if text[at] != "\\":
            out.append(text[at])
            at += 1
        else:
            char, at = _escape(text, at + 1)
            out.append(char)
    return "".join(out)


def _escape(text: str, at: int) -> tuple[str, int]:
    letter = text[at : at + 1]
    if letter in _LETTERS:
        return _LETTERS[letter], at + 1
    length = {"u": 4, "U": 8}.get(letter, 0)
    digits = text[at + 1 : at + 1 + length]
    try:
        return chr(int(digits, 16)), at + 1 + length
    except (ValueError, OverflowError):
        raise BadValue(f"invalid escape \\{letter}{digits}") from None


_LETTERS = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def dedented(lines: str) -> str:
    """A here-document of `<<-`: without the white space that all its lines begin with."""
    rows = lines.split("\n")
    least = min((len(row) - len(row.lstrip(" \t")) for row in rows if row.strip()), default=0)
    return "\n".join(row[least:] for row in rows)
