"""A machine and an outside in namespaces of their own; needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab
from machine import needs_root
from switchlab import IMAGE, SwitchLab
from world import World

from nacre.ground import userns
from nacre.words.errors import NacreError


def _needs_networks() -> None:
    needs_root()
    if not userns.is_first():
        pytest.skip("needs root of the machine")
    from nacre.ground.network import namespaces

    try:
        import os

        os.close(namespaces.new())
    except NacreError as error:
        pytest.skip(f"no network namespace here: {error}")


@pytest.fixture
def namespace() -> Iterator[int]:
    """An empty network namespace."""
    _needs_networks()
    import os

    from nacre.ground.network import namespaces

    fd = namespaces.new()
    yield fd
    os.close(fd)


@pytest.fixture
def lab(nacre: Any, busybox_image: str) -> Iterator[Lab]:
    """The machine, with an image `busybox:test`."""
    _needs_networks()
    made = Lab(nacre)
    yield made
    made.close()


@pytest.fixture
def user_lab(nacre: Any, busybox_tar: bytes, tmp_path: Path) -> Iterator[SwitchLab]:
    """The machine of an ordinary user, with an image `busybox:test`."""
    import shutil

    if not shutil.which("nsenter"):
        pytest.skip("nsenter is not installed")
    (tmp_path / "web").mkdir()
    try:
        world = World(str(tmp_path / "web"))
    except AssertionError as error:
        pytest.skip(str(error))
    made = SwitchLab(nacre, world)
    nacre("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=busybox_tar)
    yield made
    for row in nacre("ps", "-aq").lines:
        nacre("rm", "-f", row)
    world.close()
