"""Answers of a catalog that still hold: most clients ask for the same few manifests and blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_MOST = 4096


class AnswerCache:
    """Kept while `version` gives the same number, never where it gives None. Any thread may use it."""

    def __init__(self, version: Callable[[], int | None]) -> None:
        self._version = version
        self._kept: tuple[int, dict[tuple[str, ...], object]] = (-1, {})

    def ask(self, question: Callable[..., T], *words: str) -> T:
        """`question(*words)`, or what it gave before: `words` have to be all that tells it from others."""
        version = self._version()
        if version is None:
            return question(*words)
        known, answers = self._kept
        if known != version:
            answers = {}
            self._kept = (version, answers)
        if words in answers:
            return answers[words]  # type: ignore[return-value]
        answer = question(*words)
        if len(answers) < _MOST and self._version() == version:  # else it may be older than the change
            answers[words] = answer
        return answer
