"""Stopped containers, so that a store is not an empty one. For `zygote`: plain values."""

from __future__ import annotations

from nacre.images.model.image import find
from nacre.images.model.runtime import RunOptions
from nacre.services.containers.service import Containers, CreateRequest
from nacre.stores import Store


def make(root: str, driver: str, name: str, count: int) -> list[str]:
    """So many of one image; their ids."""
    with Store.open(root, driver=driver) as store:
        containers, image = Containers(store), find(store, name)
        request = CreateRequest(image, RunOptions(command=("/x",)), reference=name)
        return [containers.create(request.replace(name=f"crowd-{number}")).id for number in range(count)]
