"""The `Warning` field, by which a registry tells the user something that changes nothing.

    Warning = "299 - " DQUOTE text DQUOTE

Source: distribution-spec, "Warnings" (RFC 7234, 5.5): this code, this agent, no date, and not more than
4,096 bytes of all warnings of an answer together.
"""

from __future__ import annotations

MAX_TEXT = 1000
"""Characters of one warning: four of them fit into an answer."""


def format_warning(text: str) -> str:
    """The value of the field. What is not printable ASCII becomes `?`, as no header may hold it."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text[:MAX_TEXT])
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
