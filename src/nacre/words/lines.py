"""Text files in lines."""

from __future__ import annotations


def lines(text: str) -> list[str]:
    """The lines without their ends: a line feed ends one, and a carriage return before it belongs to the end.

    `str.splitlines` also cuts at form feeds, U+0085, U+2028 and five more, which are part of a line for
    every other program.
    """
    found = [line.removesuffix("\r") for line in text.split("\n")]
    return found if found[-1] else found[:-1]
