"""A PostgreSQL server of the tests: Debian's, on a Unix socket in a folder of its own."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from typing import Any

import pytest

USER = "nacre"


class PostgresServer:
    """Started when it is made; `stop` ends it and removes its folder."""

    def __init__(self, programs: str) -> None:
        self._programs, self._owner = programs, _owner()
        self._count = 0
        self.folder = tempfile.mkdtemp(prefix="nacre-pg-", dir="/tmp")  # a socket's path may have 107 bytes
        self._environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C"}
        if self._owner:
            account = pwd.getpwnam(self._owner["user"])
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", "data", "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.start()

    def start(self) -> None:
        """Again, after `kill`."""
        settings = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off")
        # it ends with the tests, also when these are killed
        command = ["setpriv", "--pdeathsig", "QUIT", f"{self._programs}/postgres", "-D", "data"]
        command += [word for setting in settings for word in ("-c", setting)]
        with open(f"{self.folder}/log", "ab") as log:
            self._server = subprocess.Popen(
                command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, **self._owner,
            )  # fmt: skip
        end = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None, "PostgreSQL does not start"
            assert time.monotonic() < end, "PostgreSQL does not answer"

    def _answers(self) -> bool:
        command = [f"{self._programs}/pg_isready", "-q", "-h", self.folder]
        return subprocess.run(command, env=self._environment, timeout=60).returncode == 0

    def kill(self) -> None:
        """As a power cut does."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(60)

    def stop(self) -> None:
        """Nothing is left."""
        try:
            self.kill()
        finally:
            shutil.rmtree(self.folder)

    def new_database(self) -> str:
        """The URL of an empty schema, which is made a hundred times faster than a database."""
        import psycopg

        self._count += 1
        name, url = f"registry{self._count}", f"postgresql://{USER}@/postgres?host={self.folder}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{url}&options=-csearch_path%3D{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [f"{self._programs}/{program}", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=120, **self._owner,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr or done.stdout


def _owner() -> dict[str, Any]:
    """It does not run as root."""
    if os.geteuid():
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in names else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}


def programs() -> str:
    """The folder of the newest server; skips without one."""
    pytest.importorskip("psycopg")
    pytest.importorskip("psycopg_pool")
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    path = found[-1] if found else shutil.which("initdb")
    if not path:
        pytest.skip("PostgreSQL is not installed")
    return os.path.dirname(path)
