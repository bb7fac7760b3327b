"""What some mounts of a container need only while they are made: trees of images, maps of owners."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager

from ...ground.idmap import user_namespace
from ...words.digest import Digest
from .mountmode import read_idmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ...stores.store import Store


@contextmanager
def ready(store: Store, config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The config with all that its mounts need, until the end of the block. Raises NotFound, SandboxError."""
    with ExitStack() as held:
        if config["linux"].get("uidMappings"):
            from . import userns

            config = held.enter_context(userns.ready(config))
        entries = [{**entry, **_needed(store, entry, held)} for entry in config["mounts"]]
        yield {**config, "mounts": entries}


def _needed(store: Store, entry: Mapping[str, Any], held: ExitStack) -> dict[str, Any]:
    if entry.get("image"):
        return {"tree": store.trees.view([Digest(layer) for layer in entry["layers"]])}
    if entry.get("idmap"):
        maps = read_idmap(entry["idmap"])
        fd = user_namespace(maps["uids"], maps["gids"])
        held.callback(os.close, fd)
        return {"userns": f"/proc/{os.getpid()}/fd/{fd}"}
    return {}
