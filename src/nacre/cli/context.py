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

    from ..engine import Engine
    from ..engine.network import NetworkSettings
    from ..services.build import PackageIndexes
    from ..words.errors import NacreError
    from ..words.oci import Platform
    from ..words.progress import Task
    from .terminal import Display

PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
DRIVERS = ("auto", "overlay", "erofs", "plain")
POLICIES = ("auto", "keep", "drop")


def visible(text: str) -> str:
    """Control characters as escapes: a name, or what a registry says, must not command the terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
        for letter in text
    )


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
                f"unknown storage driver {self.driver!r}", hint=f"use one of {', '.join(DRIVERS)}"
            )
        self.layer_blobs = layer_blobs or self.environment.get("NACRE_LAYER_BLOBS") or "auto"
        self.insecure: set[str] = set()
        """Registries that a command was told to trust, `host[:port]`; before anything is fetched."""
        self._engine: Engine | None = None
        self._displays: list[Display] = []

    def _default_root(self) -> str:
        environment = self.environment
        if environment.get("NACRE_ROOT"):
            return environment["NACRE_ROOT"]
        if self.uid == 0:
            return "/var/lib/nacre"
        data = environment.get("XDG_DATA_HOME", "")
        return os.path.join(data if os.path.isabs(data) else f"{self.home}/.local/share", "nacre")

    @property
    def engine(self) -> Engine:
        """The engine, told what the user says; it opens store and connections when they are needed."""
        if self._engine is None:
            from ..engine import Config, Engine

            self._engine = Engine(
                Config(
                    self.root, self.driver, self.layer_blobs, self._network, self._proxy_variables(),
                    docker_config=self.docker_config,
                    folder=self.environment.get("TMPDIR") or "/var/tmp", owns_process=True, warn=self.warn,
                    container_network=self.environment.get("NACRE_NETWORK") or "default",
                    packages=self._packages,
                )
            )  # fmt: skip
        return self._engine

    def refuse_damaged(self) -> None:
        """Raises DamagedStore if a wrong value in the database, and no bug, can be why a command failed."""
        if self._engine is not None:
            self._engine.system.refuse_damaged()

    def _network(self) -> NetworkSettings:
        from .config import network

        return network(self)

    def _packages(self) -> PackageIndexes:
        from .packages import packages

        return packages(self)

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

    def _proxy_variables(self) -> tuple[tuple[str, str], ...]:
        """As they are spelled: containers get both spellings, where both are given."""
        return tuple(item for item in self.environment.items() if item[0].lower() in PROXIES)

    def platform(self, written: str) -> Platform | None:
        """What `--platform` says, else DOCKER_DEFAULT_PLATFORM, else None. Raises InvalidName."""
        from ..words.oci import Platform

        written = written or self.environment.get("DOCKER_DEFAULT_PLATFORM", "")
        return Platform.parse(written) if written else None

    def epoch(self) -> str:
        """SOURCE_DATE_EPOCH of the environment, seconds since 1970; "" if unset. Raises UsageError."""
        written = self.environment.get("SOURCE_DATE_EPOCH", "")
        if written and not (written.isascii() and written.isdigit() and len(written) < 12):
            raise UsageError(f"invalid SOURCE_DATE_EPOCH {written!r}: expected seconds since 1970")
        return written

    def progress(self, *, quiet: bool = False, form: str = "auto") -> Display:
        """A `Progress` on standard error, to be used in `with`.

        `form`: auto (live on a terminal, else plain), plain (a line for each task), json (an event a
        line, on standard output); `quiet` shows nothing.
        """
        from .terminal import display

        shown = display(self, quiet=quiet, form=form)
        self._displays.append(shown)
        return shown

    def build_progress(self, *, quiet: bool = False, form: str = "auto") -> Display:
        """As `progress`, for a build: `form` is BUILDKIT_PROGRESS where it is `auto`. Raises UsageError."""
        if quiet:
            return self.progress(quiet=True)
        from .buildsteps import build_display

        if form == "auto":
            form = self.environment.get("BUILDKIT_PROGRESS") or form
        shown = build_display(self, form)
        self._displays.append(shown)
        return shown

    def later(self, quiet: bool = False) -> Later:
        """A `Progress` that appears when there is something to tell; whoever made it closes it."""
        return Later(self, quiet)

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

    def warn_of(self, error: NacreError) -> None:
        """Name what went wrong, as a command that ends with it would, where the command goes on."""
        self.warn(visible(f"nacre: {error.message}"))

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
        """Restore the terminal, close the engine. Idempotent."""
        while self._displays:
            self._displays.pop().close()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Later:
    """A display that appears when there is something to tell."""

    def __init__(self, context: Context, quiet: bool) -> None:
        self._context, self._quiet = context, quiet
        self._shown: Display | None = None

    def _display(self) -> Display:
        if self._shown is None:
            self._shown = self._context.progress(quiet=self._quiet)
        return self._shown

    def task(self, key: str) -> Task:
        """A task of the display, which is made at the first use."""
        return self._display().task(key)

    def line(self, text: str) -> None:
        """Write a line above the display, which is made at the first use."""
        self._display().line(text)

    def close(self) -> None:
        """Close the display. Idempotent."""
        if self._shown is not None:
            self._shown.close()


def _home(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
