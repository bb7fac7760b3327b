"""Durations of options."""

from __future__ import annotations

import pytest

from nacre.words.durations import seconds
from nacre.words.errors import UsageError


@pytest.mark.parametrize(
    ("text", "wanted"), [("", 0), ("0s", 0), ("30d", 30 * 86400), ("1h30m", 5400), ("1.5s", 1.5)]
)
def test_seconds(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["d", "x", "1", "-1d", "1.5d", "999999d", "1dd"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="invalid duration"):
        seconds(text)
