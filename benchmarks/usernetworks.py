"""Networks of an ordinary user's containers, beside the user without a container, podman and pasta alone.

The machine and the outside are those of `networks`. What sends and receives is the program of a container:
a Python of this machine that is mounted there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from .bench import Bench, case_of
from .harness import Case, Scenario, as_it_is
from .networks import MACHINE, OUTSIDE, PORT, PUMP, Networked
from .peers import BASE, Peer, Podman, Skip, account, busybox_tar, require

_USER = "nacre-bench"
_PYTHON = os.path.realpath(sys.executable)
_FOLDERS = ("/usr", "/lib", "/lib64", "/bin")
_PORTS = {"nacre": 7101, "host": 7102, "podman": 7103, "pasta": 7104}
_SERVER = 5001
_TUN = "/dev/net/tun"


class UserLab:
    """The user, whose commands run in the machine of `networks`; ended by `stack`."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        require("setpriv")
        self.lab, self._bench, self._stack = bench.shared(Networked), bench, stack
        self._account = account(_USER)
        self.folder = bench.fresh("user")
        shutil.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        home = str(self.folder)
        self.env = {"HOME": home, "USER": _USER, "XDG_RUNTIME_DIR": home, "XDG_DATA_HOME": ""}
        self._engines: dict[str, Peer] = {}
        self._serves: set[str] = set()

    def words(self, *words: str, plain: bool = False) -> list[str]:
        """A command of the user's; `plain` sees the control groups as podman wants them."""
        uid, gid = self._account.pw_uid, self._account.pw_gid
        become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--init-groups"]
        return [*self.lab.inside(self.lab.machine), *([] if plain else as_it_is()), *become, *words]

    def engine(self, name: str) -> Peer:
        """With the base image. Raises Skip."""
        if name not in self._engines:
            peer = Peer()
            peer.name, peer.env = name, self.env
            if name == "nacre":
                program = self._bench.users_nacre(self.folder, self._account.pw_uid)
                peer.words = self.words(program, "--root", f"{self.folder}/nacre")
            else:
                made = Podman(self._bench.fresh("podman"))
                peer.env = {**self.env, **made.env}
                peer.words = self.words("podman", "--root", f"{self.folder}/podman", plain=True)
            peer.load_base(busybox_tar())
            self._engines[name] = peer
        return self._engines[name]

    def pump(self, name: str, *words: str) -> list[str]:
        """A command that sends from a container, or from the user. Raises Skip."""
        if name == "host":
            return self.words(_PYTHON, PUMP, *words)
        if name == "pasta":
            return self.words(*self._pasta(), _PYTHON, PUMP, *words)
        self.serving(name)
        return [*self.engine(name).words, "exec", "bench", _PYTHON, "/pump.py", *words]

    def _pasta(self, *options: str) -> list[str]:
        require("pasta")
        if not os.access(_TUN, os.R_OK | os.W_OK) or Path(_TUN).stat().st_mode & 0o006 != 0o006:
            raise Skip(f"{_TUN} is closed for ordinary users")
        return ["pasta", "--config-net", "-q", "--no-map-gw", *options, "--"]

    def serving(self, name: str) -> int:
        """The port of the machine behind which the program reads what comes. Raises Skip."""
        port = _PORTS[name]
        if name not in self._serves:
            self._serve(name, port)
            self._serves.add(name)
            self._wait_for(port)
        return port

    def _serve(self, name: str, port: int) -> None:
        if name in ("nacre", "podman"):
            engine = self.engine(name)
            mounts = [
                word for each in _FOLDERS if os.path.isdir(each) for word in ("-v", f"{each}:{each}:ro")
            ]
            script = ["-v", f"{PUMP}:/pump.py:ro", BASE, _PYTHON, "/pump.py", "serve", str(_SERVER)]
            engine.call("run", "-d", "--name", "bench", "-p", f"{port}:{_SERVER}", *mounts, *script)
            self._stack.callback(engine.call, "rm", "-f", "bench")
            return
        before = self._pasta("-t", str(port)) if name == "pasta" else []
        server = subprocess.Popen(self.words(*before, _PYTHON, PUMP, "serve", str(port)))
        self._stack.callback(server.wait)
        self._stack.callback(server.kill)

    def _wait_for(self, port: int) -> None:
        probe = self.lab.inside(self.lab.outside, _PYTHON, PUMP, "connect", MACHINE, str(port), "1")
        for _ in range(400):
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise Skip("the server does not answer")


class _UserNetworks(Scenario):
    """`words(lab, name)` is what is timed of one of them."""

    most = 15

    def cases(self, bench: Bench) -> Iterator[Case]:
        lab = bench.shared(UserLab)
        for name in _PORTS:
            yield case_of(name, lambda name=name: self._of(lab, name))  # type: ignore[misc]

    def _of(self, lab: UserLab, name: str) -> Case:
        return Case(name, self.words(lab, name), lab.env)

    def words(self, lab: UserLab, name: str) -> Sequence[str]:
        """Raises Skip."""
        raise NotImplementedError


def _coming_in(lab: UserLab, name: str, verb: str, count: str) -> Sequence[str]:
    """What the outside runs against the port that a container has published."""
    port = str(lab.serving(name))
    return lab.lab.inside(lab.lab.outside, _PYTHON, PUMP, verb, MACHINE, port, count)


class UserOut(_UserNetworks):
    """One connection out of a container."""

    name, question = "net-out-user", "4 GB by TCP from an ordinary user's container to the outside"

    def words(self, lab: UserLab, name: str) -> Sequence[str]:
        return lab.pump(name, "send", OUTSIDE, str(PORT), "4000")


class UserIn(_UserNetworks):
    """One connection to a published port."""

    name, question = "net-in-user", "4 GB by TCP from the outside to a port that a user has published"

    def words(self, lab: UserLab, name: str) -> Sequence[str]:
        return _coming_in(lab, name, "send", "4000")


class UserConnect(_UserNetworks):
    """Many connections out, one after the other."""

    name, question = "net-connect-user", "5,000 connections from an ordinary user's container to the outside"

    def words(self, lab: UserLab, name: str) -> Sequence[str]:
        return lab.pump(name, "connect", OUTSIDE, str(PORT), "5000")


class UserConnectIn(_UserNetworks):
    """Many connections to a published port, one after the other."""

    name, question = "net-connect-in-user", "2,000 connections from the outside to a port of a user's"

    def words(self, lab: UserLab, name: str) -> Sequence[str]:
        return _coming_in(lab, name, "connect", "2000")


SCENARIOS = (UserOut(), UserIn(), UserConnect(), UserConnectIn())
