"""Where a program begins: an engine for a store, with what the command line takes where nothing is said."""

from __future__ import annotations

import os

from ..words.arguments import checked
from . import Engine
from .wiring import Config

TYPE_CHECKING = False
if TYPE_CHECKING:
    AnyPath = str | os.PathLike[str]


@checked
def open_store(
    root: AnyPath = "",
    *,
    driver: str = "auto",
    docker_config: AnyPath = "",
    layer_blobs: str = "auto",
    repair: bool = False,
) -> Engine:
    """Open the store in the folder `root`, made if absent; the caller closes it, `with` works.

    `root` "" is where the command line keeps it: /var/lib/nacre for root, else ~/.local/share/nacre.
    `docker_config` is the path of a config.json with credentials for registries ("": ~/.docker's).
    `layer_blobs` keep, drop or auto: whether pulled layers stay in their compressed form too. `repair`:
    rebuild the database first if it is gone or damaged; `check(repair=True)` then says what is lost. Raises
    StoreError, DamagedStore for such a database without `repair`.
    """
    from .network import NetworkSettings

    home = os.path.expanduser("~")
    usual = "/var/lib/nacre" if os.geteuid() == 0 else f"{home}/.local/share/nacre"
    files = (os.fspath(docker_config) or f"{home}/.docker/config.json",)
    config = Config(os.fspath(root) or usual, driver, layer_blobs, lambda: NetworkSettings(auth_files=files))
    engine = Engine(config)
    if repair:
        engine.system.rebuild()
    engine.inside(lambda store: None)
    return engine
