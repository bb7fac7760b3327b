"""What a command gets from the outside world: environment, streams, the store, progress, a client.

Nothing below `cli/` reads the environment or the terminal; it is read here, once, and passed down.
"""

from __future__ import annotations

import os
import sys

from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO, Self, TextIO

    from ..ground.userns import Mapping as IdMapping
    from ..images.arrows.pull import PullResult
    from ..images.model.image import Image
    from ..services.client import Client
    from ..services.client.repository import Repository
    from ..stores.rebuild import Rebuilt
    from ..stores.store import Store
    from ..words.oci import Platform
    from ..words.progress import Progress
    from ..words.reference import Reference
    from .terminal import Display

DRIVERS = ("auto", "overlay", "erofs", "plain")
POLICIES = ("auto", "keep", "drop")


class Context:
    """One run of the command line. `close` (or `with`) lets go of everything that was opened.

    `environment` is read as it is now; `uid`, `gid` and `home` are those of the real user, also after
    the user namespace was entered. `root`, `driver` and `layer_blobs` given here win over the environment.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        root: str = "",
        driver: str = "",
        layer_blobs: str = "",
        debug: bool = False,
        streams: tuple[TextIO, TextIO, TextIO] | None = None,
    ) -> None:
        self.environment = os.environ if environment is None else environment
        self.stdin, self.stdout, self.stderr = streams or (sys.stdin, sys.stdout, sys.stderr)
        self.uid, self.gid, self.debug = os.geteuid(), os.getegid(), debug
        self.home = self.environment.get("HOME") or _home(self.uid)
        self.root = os.path.abspath(root or self._default_root())
        self.driver = driver or self.environment.get("NACRE_STORAGE_DRIVER") or "auto"
        if self.driver not in DRIVERS:
            raise UsageError(
                f"unknown storage driver {self.driver!r}", hint=f"known are {', '.join(DRIVERS)}"
            )
        self.layer_blobs = layer_blobs or self.environment.get("NACRE_LAYER_BLOBS") or "auto"
        self.mapping: IdMapping | None = None
        self.insecure: set[str] = set()
        """Registries that a command was told to trust, `host[:port]`; before the client is made."""
        self._store: Store | None = None
        self._client: Client | None = None
        self._displays: list[Display] = []

    def _default_root(self) -> str:
        environment = self.environment
        if environment.get("NACRE_ROOT"):
            return environment["NACRE_ROOT"]
        if self.uid == 0:
            return "/var/lib/nacre"
        data = environment.get("XDG_DATA_HOME", "")
        return os.path.join(data if os.path.isabs(data) else f"{self.home}/.local/share", "nacre")

    def enter(self) -> None:
        """Become able to mount and change owners: an ordinary user enters a user namespace, once, if allowed.

        Must run before any thread starts.
        """
        if self.mapping is None:
            from ..ground import userns

            self.mapping = userns.attempt()

    @property
    def store(self) -> Store:
        """The store, opened at the first use. Raises StoreError."""
        if self._store is None:
            from ..stores.store import Store

            self.enter()
            single = self.mapping.single if self.mapping else None
            self._store = Store.open(
                self.root, driver=self.driver, single=single, layer_blobs=self.layer_blobs
            )
        return self._store

    def rebuild(self) -> Rebuilt:
        """Make the database of the store again, as far as it is damaged; `store` is opened anew then."""
        from ..stores.rebuild import rebuild

        store, self._store = self._store, None
        if store is not None:
            store.db.close()
        self.enter()
        return rebuild(os.path.abspath(self.root), single=self.mapping.single if self.mapping else None)

    @property
    def client(self) -> Client:
        """The registry client, with the user's settings and credentials; made at the first use."""
        if self._client is None:
            from ..ground.linux import keep_freed_memory
            from ..services.client import Client
            from .config import client_config

            keep_freed_memory()
            self._client = Client(client_config(self))
        return self._client

    def repository(self, name: str) -> Repository:
        """The repository of a registry that has this full name, `registry/repository`."""
        from ..words.reference import Reference

        return self.client.repository(Reference.parse(name))

    @property
    def docker_config(self) -> str:
        """The path of docker's config.json: under DOCKER_CONFIG, else ~/.docker."""
        folder = self.environment.get("DOCKER_CONFIG") or f"{self.home}/.docker"
        return os.path.join(folder, "config.json")

    def proxies(self) -> dict[str, str]:
        """The proxy variables that are set, by their lower-case names."""
        get = self.environment.get
        names = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        found = {name: get(name) or get(name.upper()) for name in names}
        return {name: value for name, value in found.items() if value}

    def docker_proxies(self) -> dict[str, str]:
        """The proxies that docker's config.json names for containers; a warning if it cannot be read."""
        if not os.path.lexists(self.docker_config):
            return {}
        from ..ground.jsonfile import read_object
        from ..images.model.proxies import docker_proxies
        from ..words.errors import StoreError

        try:
            return docker_proxies(read_object(self.docker_config))
        except StoreError as error:
            self.warn(f"WARNING: no proxies are taken from it: {error.message}")
            return {}

    def epoch(self) -> str:
        """SOURCE_DATE_EPOCH of the environment, seconds since 1970; "" if unset. Raises UsageError."""
        written = self.environment.get("SOURCE_DATE_EPOCH", "")
        if written and not (written.isascii() and written.isdigit() and len(written) < 12):
            raise UsageError(f"invalid SOURCE_DATE_EPOCH {written!r}: expected seconds since 1970")
        return written

    def resolve(
        self, text: str, platform: Platform | None = None, *, pull: str = "missing", quiet: bool = False
    ) -> Image:
        """The image that `text` names: from the store, from this machine (`host:NAME`), else pulled.

        `pull` is docker's: missing, always or never. An image of another platform than the one wanted
        counts as missing. Raises NotFound, InvalidName, RegistryError, ContentError.
        """
        from ..images.arrows.resolve import resolve

        def fetch(reference: Reference, platform: Platform | None) -> Image:
            if pull == "missing" and not quiet:
                self.warn(f"Unable to find image {text!r} locally")
            return self.pull(reference, platform, quiet=quiet).image

        return resolve(self.store, text, fetch, platform, pull=pull)

    def pull(
        self, reference: Reference, platform: Platform | None = None, *, quiet: bool = False
    ) -> PullResult:
        """Fetch an image from its registry into the store, showing progress unless `quiet`."""
        with self.progress(quiet=quiet) as progress:
            return self.pull_with(progress, reference, platform)

    def pull_with(
        self, progress: Progress, reference: Reference, platform: Platform | None = None
    ) -> PullResult:
        """The same with a progress of the caller's."""
        from ..images.arrows.pull import pull

        source, at_once = self.client.repository(reference), self.client.config.settings.concurrency or 0
        return pull(
            source, reference, self.store, platform=platform, progress=progress, at_once=at_once, forks=True
        )

    def progress(self, *, quiet: bool = False, form: str = "auto") -> Display:
        """A `Progress` on standard error, to be used in `with`.

        `form`: auto (live on a terminal, else plain), plain (a line for each task), json (an event a
        line, on standard output); `quiet` shows nothing.
        """
        from .terminal import display

        shown = display(self, quiet=quiet, form=form)
        self._displays.append(shown)
        return shown

    def print(self, line: str = "") -> None:
        """One line on standard output."""
        self.stdout.write(line + "\n")

    def warn(self, line: str) -> None:
        """One line on standard error, after what was printed before it."""
        self.stdout.flush()
        live = next((shown for shown in self._displays if shown.live), None)
        if live is not None:
            live.line(line)
        else:
            self.stderr.write(line + "\n")
            self.stderr.flush()

    @property
    def output(self) -> IO[bytes]:
        """Standard output for bytes."""
        self.stdout.flush()
        return self.stdout.buffer

    @property
    def input(self) -> IO[bytes]:
        """Standard input for bytes."""
        return self.stdin.buffer

    def close(self) -> None:
        """Restore the terminal, close client and store. Idempotent."""
        while self._displays:
            self._displays.pop().close()
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


def _home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
