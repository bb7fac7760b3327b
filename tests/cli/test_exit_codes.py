"""Exit codes where docker's differ from command to command: measured with docker 28.2."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "-it", "x"), 1),
        (("info", "--format", "{{.Nope}}"), 1),
        (("images", "--format", "{{"), 1),
        (("images", "--filter", "nope=1"), 1),
        (("images", "--filter", "nope"), 125),
        (("images", "--bogus"), 125),
        (("ps", "--filter", "nope=1"), 1),
        (("create", "--memory", "x", "y"), 125),
        (("create", "--env-file", "/nope", "y"), 125),
        (("create", "UPPER"), 1),
        (("run", "--filter", "UPPER"), 125),
        (("run", "UPPER"), 125),
        (("tag", "a", "b@sha256:" + 64 * "0"), 1),
    ],
)
def test_codes(nacre: Any, words: tuple[str, ...], code: int) -> None:
    result = nacre(*words, check=False)
    assert result.code == code, result
    assert result.err.startswith("nacre: ")
