"""What an engine is told, and the one place where store and client are opened for it.

A face that owns its process (`Config.owns_process`: the command line) enters a user namespace once and works
in it. Any other program is left as it is: work that needs the namespace is done in a forked child that enters
one, and its result comes back as a value. So it is where SIGCHLD is ignored or handled.
"""

from __future__ import annotations

import os

from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self, TypeVar

    from ..ground.userns import Mapping as IdMapping
    from ..ground.work.budget import Budget
    from ..images.model.image import Image
    from ..services.build import PackageIndexes
    from ..services.client import Client
    from ..stores.paths import Paths
    from ..stores.store import Store
    from ..words.reference import Reference
    from .network import NetworkSettings

    T = TypeVar("T")


def _silent(_line: str) -> None:
    pass


def named(name: str | Reference) -> Reference:
    """The reference that a name is; most commands for containers read none. Raises InvalidName."""
    from ..words.reference import Reference

    return Reference.of(name)


class Config(Value):
    """What an engine is told; `root` is the store's folder, `driver` and `layer_blobs` as in `open_store`.

    `network` is asked when something is fetched for the first time, since reading a user's files for it takes
    longer than the start of a container; None is `NetworkSettings()`. `proxies` are pairs of a variable
    (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`) and its value. `docker_config` is the path of
    docker's config.json, whose proxies containers and builds get; "" for none. `folder` is for what must lie
    in a file for a while. `owns_process`: no other thread runs, so that the process may enter a user
    namespace, and fork to work on several processors. `warn` hears what a user should know and no result
    tells. `cdi_folders`: where vendors describe their devices, the most important last. `container_network`
    is that of containers for which none is named: `default` is `bridge` where that is possible, else `host`.
    `packages` is asked for indexes of packages when a Python project is built that has no Dockerfile.
    """

    root: str
    driver: str = "auto"
    layer_blobs: str = "auto"
    network: Callable[[], NetworkSettings] | None = None
    proxies: tuple[tuple[str, str], ...] = ()
    docker_config: str = ""
    folder: str = "/var/tmp"
    owns_process: bool = False
    warn: Callable[[str], object] = _silent
    cdi_folders: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")
    container_network: str = "default"
    packages: Callable[[], PackageIndexes] | None = None


class Wiring:
    """Opens what is needed at its first use, for the verbs of `Engine`; one for each engine."""

    _began_as_root = False
    mapping: IdMapping | None = None
    """Which ids exist in the user namespace that this process has entered."""

    def __init__(self, config: Config) -> None:
        self.config, self.root = config, os.path.abspath(config.root)
        self._store: Store | None = None
        self._client: Client | None = None
        self._network: NetworkSettings | None = None
        self._budget: Budget | None = None

    # how: for faces, and for the other modules of this package

    @property
    def store(self) -> Store:
        """The rooms beneath, for reading: `engine.store.refs.list()`."""
        if self._store is None:
            self._store = self._open()
        return self._store

    @property
    def paths(self) -> Paths:
        """Where the store keeps what other rooms remember; it need not be open, nor be there."""
        from ..stores.paths import Paths

        return Paths(self.root)

    @property
    def network(self) -> NetworkSettings:
        """What the client is told; the user's files are read for it once."""
        if self._network is None:
            from .network import NetworkSettings

            self._network = self.config.network() if self.config.network else NetworkSettings()
        return self._network

    @property
    def client(self) -> Client:
        """The registry client, made at the first use."""
        if self._client is None:
            from .network import client_of

            self._client = client_of(self.config, self.network)
        return self._client

    @property
    def budget(self) -> Budget:
        """What work side by side may use of this machine; only who owns the process may fork it."""
        if self._budget is None:
            from ..ground.work.budget import Budget

            self._budget = Budget.of_machine(forks=self.config.owns_process)
        return self._budget

    def container_proxies(self) -> dict[str, str]:
        """The proxies that docker's config.json names for containers; a warning if it cannot be read."""
        found = self._docker_config("proxies")
        if not found:
            return {}
        from ..images.model.proxies import docker_proxies

        return docker_proxies(found)

    def docker_setting(self, name: str) -> str:
        """A text of docker's config.json; "" where there is none, after a warning if it cannot be read."""
        return str(self._docker_config(name).get(name) or "")

    def _docker_config(self, wanted: str) -> dict[str, Any]:
        """docker's config.json, of which `wanted` is to be read; {} where there is none, or a damaged one."""
        path = self.config.docker_config
        if not path or not os.path.lexists(path):
            return {}
        from ..ground.jsonfile import read_object
        from ..words.errors import StoreError

        try:
            return read_object(path)
        except StoreError as error:
            self.config.warn(f"WARNING: its {wanted} are ignored: {error.message}")
            return {}

    def tell(self, kind: str, action: str, id: str, name: str = "", **more: str) -> None:
        """Record what happens to an image, a volume or a network for `nacre events`."""
        from ..stores.events import record

        record(self.root, kind, action, id, more | ({"name": name} if name else {}))

    def tell_image(self, action: str, image: Image, reference: Reference | None = None) -> None:
        """Record what happens to an image, or to a name of it, with its labels, as docker does."""
        from ..stores.events import of_image

        of_image(
            self.root, action, str(image.id), image.config.labels, reference.familiar if reference else ""
        )

    def enter(self, beside: int = -1) -> None:
        """Become able to mount and change owners: an ordinary user enters a user namespace, once, if allowed.

        It is a new one, or with a pidfd `beside` that of a process. For who owns the process. Must run before
        any thread starts.
        """
        if self.mapping is None:
            from ..ground import userns

            self._began_as_root = self.is_root
            self.mapping = userns.join(beside) if beside >= 0 else userns.attempt()

    @property
    def is_root(self) -> bool:
        """Whether this process began as root; in a user namespace everybody is."""
        return os.geteuid() == 0 if self.mapping is None else self._began_as_root

    @property
    def shows_mounts(self) -> bool:
        """Whether what this process mounts is seen by others: it had no namespace to enter."""
        from ..ground import userns

        mapping = self.mapping
        return userns.mapped() if mapping is None else not (mapping.entered or mapping.denied)

    def outside(self) -> Store:
        """The store, opened by this process as it is, whatever namespace it is in. To be closed.

        For work in the namespace of a container. Raises NotFound where there is no store.
        """
        from ..stores.store import Store

        return Store.open(self.root, driver=self.config.driver, create=False)

    def inside(
        self, work: Callable[[Store], T], meanwhile: Callable[[], object] | None = None, beside: int = -1
    ) -> T:  # fmt: skip
        """Do `work` where files may get any owner and mounts are possible; `beside` as for `enter`.

        Unless this process is there, its result must be picklable, and `meanwhile()` is called here.
        """
        if beside >= 0 and self.config.owns_process:
            self.enter(beside)
        if self.is_inside:
            return work(self.store)
        if self._store is not None:
            self._store.rest()

        def opened() -> T:
            with self._open() as self._store:
                return work(self._store)

        return self.entered(opened, meanwhile, beside)

    def entered(
        self, work: Callable[[], T], meanwhile: Callable[[], object] | None = None, beside: int = -1
    ) -> T:  # fmt: skip
        """As `inside`, for work that does not need the store to be open."""
        if self.config.owns_process:
            self.enter(beside)
        if self.is_inside:
            return work()
        from ..ground import userns
        from ..stores.forkguard import resting

        def in_child() -> T:
            self.forked()
            return work()

        with resting():
            result: T = userns.call(in_child, meanwhile=meanwhile, beside=beside)
        return result

    def forked(self) -> None:
        """In a forked child: the connections of the client are those of the parent."""
        self._client = None

    def apart(self, work: Callable[[], T], meanwhile: Callable[[], object] | None = None) -> T:
        """Do `work` that enters the namespaces of a container: in a child, unless this process is owned."""
        if self.config.owns_process:
            return work()
        from ..ground import userns
        from ..stores.forkguard import resting

        def in_child() -> T:
            self._client = self._store = None
            return work()

        with resting():
            result: T = userns.apart(in_child, meanwhile)
        return result

    def drop_store(self) -> None:
        """Close the database of the store alone, in whatever state it is."""
        store, self._store = self._store, None
        if store is not None:
            store.abandon()

    @property
    def is_inside(self) -> bool:
        """Whether this process itself does what needs the user namespace."""
        if self.config.owns_process:
            return True
        from ..ground import userns
        from ..ground.fork import learns_of_children

        return userns.mapped() and learns_of_children()

    def image_inside(self, work: Callable[[Store], Image]) -> Image:
        """As `inside`; only what names the image comes back from a child."""
        if self.is_inside:
            return work(self.store)
        from ..images.model.image import Image

        return Image.load(self.store, self.inside(lambda store: work(store).descriptor))

    def result_inside(self, work: Callable[[Store], T]) -> T:
        """As `inside`, for results with an `image`, which comes back from a child by its descriptor."""
        return self.results_inside(lambda store: [work(store)])[0]

    def results_inside(self, work: Callable[[Store], list[T]]) -> list[T]:
        """As `result_inside`, for several."""
        if self.is_inside:
            return work(self.store)
        from ..images.model.image import Image

        def carried(store: Store) -> list[Any]:
            results: list[Any] = work(store)
            return [result.replace(image=result.image.descriptor) for result in results]

        return [found.replace(image=Image.load(self.store, found.image)) for found in self.inside(carried)]

    def _open(self) -> Store:
        from ..stores.store import Store

        if self.config.owns_process:
            self.enter()
        single, config = self.mapping.single if self.mapping else None, self.config
        return Store.open(
            self.root, driver=config.driver, single=single, layer_blobs=config.layer_blobs,
            budget=lambda: self.budget,
        )  # fmt: skip

    def close(self) -> None:
        """Close the store. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
