"""Variables in values of compose files, and the file `.env`.

    $$  $NAME  ${NAME}  ${NAME:-DEFAULT}  ${NAME-DEFAULT}  ${NAME:?ERROR}  ${NAME?ERROR}
    ${NAME:+VALUE}  ${NAME+VALUE}

What stands behind the sign may hold variables itself. A variable that is not set is "". Source: Compose
specification, "Interpolation".
"""

from __future__ import annotations

import re

from ...words.lines import lines
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIGN = re.compile(r":?[-?+]")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s*(.*)")


def substituted(text: str, environment: Mapping[str, str]) -> str:
    """The text with its variables replaced. Raises BadValue."""
    out, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        piece, at = _piece(text, dollar + 1, environment)
        out.append(piece)
    return "".join(out) + text[at:]


def _piece(text: str, at: int, environment: Mapping[str, str]) -> tuple[str, int]:
    """What stands behind a dollar sign, and where it ends."""
    if text[at : at + 1] == "$":
        return "$", at + 1
    if text[at : at + 1] == "{":
        end = _closing(text, at + 1)
        return _braced(text[at + 1 : end], environment), end + 1
    name = _NAME.match(text, at)
    if not name:
        raise BadValue(f"invalid variable in {text[:60]!r}: write $$ for a dollar sign")
    return environment.get(name[0], ""), name.end()


def _closing(text: str, at: int) -> int:
    depth = 0
    for end in range(at, len(text)):
        if text[end] == "{" and text[end - 1] == "$":
            depth += 1
        elif text[end] == "}":
            if not depth:
                return end
            depth -= 1
    raise BadValue(f"invalid variable in {text[:60]!r}: there is no closing brace")


def _braced(inner: str, environment: Mapping[str, str]) -> str:
    name = _NAME.match(inner)
    sign = _SIGN.match(inner, name.end()) if name else None
    if not name or (not sign and name.end() < len(inner)):
        raise BadValue(f"invalid variable ${{{inner[:60]}}}")
    value = environment.get(name[0])
    if not sign:
        return value or ""
    is_there = bool(value) if sign[0].startswith(":") else value is not None
    return _chosen(name[0], sign[0][-1], value if is_there else None, inner[sign.end() :], environment)


def _chosen(name: str, sign: str, value: str | None, rest: str, environment: Mapping[str, str]) -> str:
    if sign == "+":
        return substituted(rest, environment) if value is not None else ""
    if value is not None:
        return value
    if sign == "?":
        raise BadValue(f"the variable {name} is required{': ' + rest if rest else ''}")
    return substituted(rest, environment)


def read_env(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a `.env`; those of the environment may stand in them. Raises BadValue."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines(text), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        if not parts:
            raise BadValue(f"line {number} of .env is not NAME=VALUE")
        found[parts[1]] = _unquoted(parts[2].strip(), {**found, **environment})
    return found


def _unquoted(value: str, environment: Mapping[str, str]) -> str:
    """In single quotes as it is; elsewhere variables count, and ` #` begins a comment outside of quotes."""
    if value[:1] == "'" and "'" in value[1:]:
        return value[1 : value.index("'", 1)]
    if value[:1] == '"' and '"' in value[1:]:
        inner = value[1 : value.index('"', 1)]
        return substituted(inner.replace("\\n", "\n"), environment)
    return substituted(re.split(r"\s+#", value)[0].rstrip(), environment)
