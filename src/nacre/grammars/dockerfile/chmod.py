"""The value of --chmod: an octal number, or symbols as chmod(1) takes them.

    mode   = 1*4OCTAL / clause *( "," clause )
    clause = *( "u" / "g" / "o" / "a" ) 1*( ( "+" / "-" / "=" ) ( *( "r" / "w" / "x" / "X" / "s" / "t" )
           / "u" / "g" / "o" ) )

`X` is `x` for folders and for what somebody may execute already. Source: POSIX chmod, "EXTENDED
DESCRIPTION"; Dockerfile reference, "--chmod". No umask applies where nobody is named.
"""

from __future__ import annotations

_SHIFTS = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0}
_PERMISSIONS = frozenset("rwxXst")


def octal(text: str) -> int | None:
    """The number that `text` is, None when it is none or above 7777."""
    if not text or len(text) > 5 or not set(text) <= set("01234567"):
        return None
    return int(text, 8) if int(text, 8) <= 0o7777 else None


def is_symbolic(text: str) -> bool:
    """Whether `text` is a list of clauses."""
    return bool(text) and all(_clause(clause) is not None for clause in text.split(","))


def apply(text: str, mode: int, is_folder: bool) -> int:
    """`mode` (12 bits) changed as the clauses of `text` say, which must be symbolic."""
    for clause in text.split(","):
        who, actions = _clause(clause) or ("", [])
        for operator, what in actions:
            mode = _changed(mode, who or "ugo", operator, what, is_folder)
    return mode


def _clause(text: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Whom a clause is about, and its operators with their operands; None when it is malformed."""
    rest = text.lstrip("ugoa")
    who = "ugo" if "a" in text[: len(text) - len(rest)] else text[: len(text) - len(rest)]
    actions: list[tuple[str, str]] = []
    while rest:
        operator, rest = rest[0], rest[1:]
        size = next((i for i, char in enumerate(rest) if char in "+-="), len(rest))
        what, rest = rest[:size], rest[size:]
        if operator not in "+-=" or not (what in ("u", "g", "o") or set(what) <= _PERMISSIONS):
            return None
        actions.append((operator, what))
    return (who, actions) if actions else None


def _changed(mode: int, who: str, operator: str, what: str, is_folder: bool) -> int:
    mask = value = 0
    for whom in who:
        bits, special = _wanted(mode, whom, what, is_folder)
        value |= bits << _SHIFTS[whom] | special
        mask |= 7 << _SHIFTS[whom] | _SPECIAL[whom]
    if "t" in what:
        value |= 0o1000
    if operator == "+":
        return mode | value
    if operator == "-":
        return mode & ~value
    return mode & ~mask | value


def _wanted(mode: int, whom: str, what: str, is_folder: bool) -> tuple[int, int]:
    if what in _SHIFTS:
        return mode >> _SHIFTS[what] & 7, 0
    bits = sum(_BITS[char] for char in set(what) & set("rwx"))
    if "X" in what and (is_folder or mode & 0o111):
        bits |= 1
    return bits, _SPECIAL[whom] if "s" in what else 0
