"""Commands on several containers: do what can be done, name each, say what failed, fail at the end."""

from __future__ import annotations

from ..words.errors import NacreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .context import Context


def each(context: Context, texts: Sequence[str], action: Callable[[str], object]) -> int:
    """Run `action` for every text and print the text, as docker does; 1 when any failed."""
    code = 0
    for text in texts:
        try:
            action(text)
            context.print(text)
        except NacreError as error:
            context.warn(f"nacre: {error.message}")
            if error.hint:
                context.warn(f"hint: {error.hint}")
            code = 1
    return code
