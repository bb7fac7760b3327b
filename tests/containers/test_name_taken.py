"""Two containers that begin at one moment, with the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nacre.engine import Config, Engine
from nacre.engine.options import ContainerOptions
from nacre.stores.containers import ContainerRow, ContainerStore
from nacre.words.errors import Conflict

if TYPE_CHECKING:
    from conftest import Nacre

    from nacre.ground.files import Lock


OTHER = "f" * 64


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first name is taken by somebody else after it was found to be free."""
    found: list[str] = []
    begin = ContainerStore.begin

    def raced(store: ContainerStore, row: ContainerRow) -> Lock:
        found.append(row.name)
        if len(found) == 1:
            store.insert(row.replace(id=OTHER, state="created"))
        return begin(store, row)

    monkeypatch.setattr(ContainerStore, "begin", raced)


@pytest.mark.usefixtures("race")
def test_one_of_ours_is_replaced(nacre: Nacre, busybox_image: str) -> None:
    with Engine(Config(str(nacre.root))) as engine:
        made = engine.containers.create(busybox_image)
    assert nacre("inspect", "-f", "{{.Name}}", OTHER).out != f"/{made.name}\n"


@pytest.mark.usefixtures("race")
def test_one_of_the_user_is_an_error(nacre: Nacre, busybox_image: str) -> None:
    with Engine(Config(str(nacre.root))) as engine, pytest.raises(Conflict, match="already in use"):
        engine.containers.create(busybox_image, options=ContainerOptions(name="mine"))
