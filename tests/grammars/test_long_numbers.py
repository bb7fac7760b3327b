"""Numbers longer than Python reads (4,300 digits) and tables deeper than it follows, in what others write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nacre.grammars.config.foreign import parse_registries
from nacre.grammars.config.mirrors import parse_mirrors
from nacre.grammars.config.toml import parse_config
from nacre.grammars.gotemplate.printf import sprintf
from nacre.grammars.networkprogram import parse_program
from nacre.grammars.python.pipconfig import poetry_logins
from nacre.grammars.python.project import read_project
from nacre.grammars.restart import parse_restart
from nacre.images.model.platforms import rank
from nacre.words.durations import nanoseconds
from nacre.words.errors import NacreError
from nacre.words.oci import Platform
from nacre.words.sizes import read_size

LONG, DEEP = "9" * 5000, "[" * 5000
READERS: dict[str, Callable[[str], object]] = {
    "config.toml": lambda text: parse_config(f"x = {text}", "f"),
    "mirrors": lambda text: parse_mirrors(f"x = {text}", "f"),
    "registries.conf": lambda text: parse_registries(f"x = {text}", "f"),
    "auth.toml": lambda text: poetry_logins(f"x = {text}", "f"),
    "pyproject.toml": lambda text: read_project(f"x = {text}".encode()),
    "size": read_size,
    "duration": lambda text: nanoseconds(f"{text}h"),
    "restart": lambda text: parse_restart(f"on-failure:{text}"),
    "mtu": lambda text: parse_program(f"slirp4netns:mtu={text}"),
}


@pytest.mark.parametrize("text", [LONG, DEEP], ids=["long", "deep"])
@pytest.mark.parametrize("reader", READERS)
def test_they_are_refused_as_anything_else_that_is_wrong(reader: str, text: str) -> None:
    with pytest.raises((NacreError, ValueError)) as raised:
        READERS[reader](text)
    assert type(raised.value) is not ValueError or "Exceeds the limit" not in str(raised.value)


def test_where_nothing_is_wrong_they_are_bounded() -> None:
    host = Platform("linux", "arm64", "v8")
    assert rank(Platform("linux", "arm64", f"v{LONG}"), host) is None
    assert sprintf(f"%[{LONG}]d", [1]) == "%!d(BADINDEX)"
    assert sprintf(f"%{LONG}d", [1]).startswith("%!(BADWIDTH)")
