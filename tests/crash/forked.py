"""Fixtures for rooms of many commands: a call of `nacre(…)` is a fork of a process that has imported all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import Forked, Zygote, environment


@pytest.fixture(scope="session", name="zygote")
def untuned_zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("zygote")
    made = Zygote(folder, environment(folder), "untuned.py")
    yield made
    made.close()


@pytest.fixture(name="nacre")
def forked_nacre(nacre: Any, zygote: Zygote, tmp_path: Path) -> Any:
    """The command line as everywhere, but in forks; what a test starts is a process of its own."""
    nacre.done = Forked(zygote, nacre, tmp_path)
    return nacre
