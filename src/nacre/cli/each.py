"""Commands on several containers: do what can be done, name each, say what failed, fail at the end."""

from __future__ import annotations

from ..words.errors import NacreError, NotFound
from .context import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .context import Context


class MissingItem(Exception):
    """There is nothing to act on, which has been said and is no failure."""


def each(context: Context, texts: Sequence[str], action: Callable[[str], object]) -> int:
    """Run `action` for every text and print the text, as docker does; 1 when any failed."""
    code = 0
    for text in texts:
        try:
            action(text)
            context.print(text)
        except MissingItem:
            continue
        except NacreError as error:
            context.warn_of(error)
            if error.hint:
                context.warn(visible(f"hint: {error.hint}"))
            code = 1
    return code


def inspect_each(context: Context, names: Sequence[str], form: str, document: Callable[[str], Any]) -> int:
    """Print `document(name)` of each; name what is not there, and end with 1 then."""
    from .output import inspect

    documents, code = [], 0
    for name in names:
        try:
            documents.append(document(name))
        except NotFound as error:
            context.warn_of(error)
            code = 1
    if documents or form in ("", "json"):
        inspect(context, documents, form)
    return code
