"""One process that runs the commands of all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nacre.ground import userns

from .place import Zygote
from .place import zygote as running


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    if not userns.mapped():
        try:
            userns.call(int)
        except Exception as error:
            pytest.skip(f"no user namespace here: {error}")
    with running(tmp_path_factory.mktemp("model")) as made:
        yield made
