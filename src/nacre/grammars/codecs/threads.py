"""What compresses blocks side by side is handed in: a grammar starts no thread."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Calls(Protocol):
        """Runs calls, perhaps in threads; hands on their results in order."""

        def call(self, function: Callable[..., Any], *args: Any) -> None:
            """Run `function(*args)` soon. Raises what an earlier call has raised."""

        def finish(self) -> None:
            """Wait for all results. Raises what a call has raised."""

        def stop(self) -> None:
            """The results are not wanted any more. Idempotent."""

    class Threads(Protocol):
        """Who may start threads. `processors` are there for a library's own, which need no interpreter."""

        processors: int

        def ordered(self, take: Callable[[Any], object]) -> Calls:
            """Calls whose results `take` gets."""


class Here:
    """The `Calls` of those who have no threads: each is made at once."""

    def __init__(self, take: Callable[[Any], object]) -> None:
        self._take = take

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Run `function(*args)` at once."""
        self._take(function(*args))

    def finish(self) -> None:
        """Nothing is ever pending here."""

    def stop(self) -> None:
        """Nothing is ever pending here."""


def ordered(threads: Threads | None, take: Callable[[Any], object]) -> Calls:
    """Calls in these threads, or at once."""
    return Here(take) if threads is None else threads.ordered(take)
