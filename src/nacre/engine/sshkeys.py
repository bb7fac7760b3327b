"""SSH agents that hold key files for the time of a build: `--ssh ID=KEY[,KEY]`.

    ssh-agent   listens in a folder of its own that only we may enter, and goes into the background
    watcher     a fork of ours that waits until we are gone, however that came, and ends the agent
    ssh-add     gives it the keys; one with a passphrase is an error, since nobody is there to ask

The programs of OpenSSH do it: they know every format of keys, and keep them out of swap and core files.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from stat import S_ISSOCK

from ..ground.files import os_errors
from ..ground.fork import fork
from ..words.errors import NotFound, Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ..ground.fork import Child
    from ..services.build import BuildOptions

_PATIENCE = 30


class KeyAgents:
    """`with` it: `options` is what was given, with the sockets of agents where files of keys were named.

    Raises NotFound, Unsupported where OpenSSH is not installed, UsageError for what is no key.
    """

    def __init__(self, options: BuildOptions) -> None:
        self._open = ExitStack()
        try:
            agents = tuple((key, self._socket(path)) for key, path in options.agents)
        except BaseException:
            self._open.close()
            raise
        self.options = options.replace(agents=agents)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:  # fmt: skip
        self._open.close()

    def _socket(self, path: str) -> str:
        return path if is_socket(path) else self._open.enter_context(_KeyAgent(path.split(","))).path


def is_socket(path: str) -> bool:
    """Whether a path is that of an agent; False for files of keys and what is not there."""
    try:
        return S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class _KeyAgent:
    """One agent with these keys, which ends with us."""

    def __init__(self, keys: list[str]) -> None:
        for key in keys:
            if not os.path.isfile(key):
                raise NotFound(f"--ssh: there is no key {key}")
        from tempfile import TemporaryDirectory

        with os_errors("make a folder for an SSH agent"):
            self._folder = TemporaryDirectory(prefix="nacre-ssh-")
        self.path = f"{self._folder.name}/agent"
        self._pidfd, self._writer = -1, -1
        self._watcher: Child | None = None
        try:
            self._begin()
            for key in keys:
                self._add(key)
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        said = _run(["ssh-agent", "-s", "-a", self.path], {})
        pid = said.partition("SSH_AGENT_PID=")[2].partition(";")[0]
        if not pid.isdecimal():
            raise Unsupported("--ssh: ssh-agent does not say its process")
        self._pidfd = os.pidfd_open(int(pid))
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        try:
            pidfd = self._pidfd
            self._watcher = fork(
                lambda _: _watch(reader, pidfd), what="the watcher of an SSH agent", keep=(reader, pidfd)
            )
        finally:
            os.close(reader)

    def _add(self, key: str) -> None:
        known = {"SSH_AUTH_SOCK": self.path, "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
        try:
            _run(["ssh-add", "-q", "--", os.path.abspath(key)], known)
        except UsageError as error:
            raise UsageError(
                f"--ssh: {key} is no key that can be used: {error.message}",
                hint="load a key with a passphrase by ssh-add, and use --ssh default",
            ) from None

    def close(self) -> None:
        """End the agent. Idempotent."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)
        if self._watcher is not None:
            self._watcher.wait()
            self._watcher.close()
            self._watcher = None
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            _end(pidfd)
            os.close(pidfd)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _watch(reader: int, pidfd: int) -> None:
    """Until the last writer is gone."""
    os.read(reader, 1)
    _end(pidfd)


def _end(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)


def _run(words: list[str], known: dict[str, str]) -> str:
    """What a program of OpenSSH prints. Raises Unsupported, UsageError with what it complains of."""
    from subprocess import DEVNULL, TimeoutExpired, run

    try:
        done = run(
            words, stdin=DEVNULL, capture_output=True, check=False, timeout=_PATIENCE,
            env={"PATH": os.environ.get("PATH", os.defpath), **known},
        )  # fmt: skip
    except FileNotFoundError:
        raise Unsupported(
            f"--ssh with key files needs {words[0]}", hint="Debian: apt install openssh-client"
        ) from None
    except TimeoutExpired:
        raise UsageError(f"{words[0]} does not answer") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").split("\n")
        said = (line.strip() for line in lines if line.strip() and not line.startswith("@"))
        raise UsageError(next(said, f"{words[0]} failed"))
    return done.stdout.decode("utf-8", "replace")
