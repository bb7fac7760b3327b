"""`nacre-runtime` with a state folder of its own, and bundles of busybox; as root or as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import needs_userns

from nacre.ground import userns
from nacre.services.runtime.spec import specification

PATIENCE = 30.0
START = "from nacre.runtime.main import entry; entry()"


class Runtime:
    """The command, and the folders of bundles."""

    def __init__(self, folder: Path, rootfs: bytes) -> None:
        self.folder, self._rootfs = folder, rootfs
        self.ids: list[str] = []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-c", START, "--root", str(self.folder / "state"), *words]

    def __call__(self, *words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
        with (self.folder / "errors").open("w+") as errors:  # a pipe would stay open in the container
            done = subprocess.run(
                self.command(*words), stderr=errors, text=True, timeout=60, check=False, **given
            )
            errors.seek(0)
            done.stderr = errors.read()
        if check and done.returncode:
            pytest.fail(f"{words}: {done.returncode}\n{done.stderr}")
        return done

    def bundle(self, *program: str, change: Callable[[dict[str, Any]], object] | None = None) -> str:
        """A folder with a config, which `change` may alter first."""
        folder = self.folder / f"bundle-{uuid.uuid4().hex[:8]}"
        (folder / "rootfs").mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(folder / "rootfs")], input=self._rootfs, check=True)
        rootless = None if userns.mapped() else (os.geteuid(), os.getegid())
        config = specification(rootless)
        config["process"] |= {"terminal": False, "args": list(program)}
        config["process"].pop("rlimits")
        config["root"]["readonly"] = False
        if change:
            change(config)
        (folder / "config.json").write_text(json.dumps(config))
        return str(folder)

    def new(self) -> str:
        """An id that nobody else has."""
        self.ids.append(f"oci-test-{uuid.uuid4().hex[:12]}")
        return self.ids[-1]

    def create(self, bundle: str, *flags: str, **options: Any) -> str:
        name = self.new()
        output = options.pop("output", subprocess.DEVNULL)
        self("create", "--bundle", bundle, *flags, name, stdout=output, **options)
        return name

    def run(self, *program: str, change: Callable[[dict[str, Any]], object] | None = None) -> str:
        """Standard output of a container that is run to its end."""
        with (self.folder / "output").open("w+") as output:
            self("run", "--bundle", self.bundle(*program, change=change), self.new(), stdout=output)
            output.seek(0)
            return output.read()

    def refusal(self, change: Callable[[dict[str, Any]], object], *program: str) -> str:
        """What `create` says to a config, and that nothing is left."""
        name = self.new()
        bundle = self.bundle(*(program or ("true",)), change=change)
        done = self("create", "--bundle", bundle, name, check=False, stdout=subprocess.DEVNULL)
        assert done.returncode == 1
        assert not (self.folder / "state" / name).exists()
        return done.stderr.strip()

    def state(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("state", name).stdout)
        return found

    def wait(self, name: str, status: str = "stopped") -> None:
        end = time.monotonic() + PATIENCE
        while self.state(name)["status"] != status:
            assert time.monotonic() < end, self.state(name)
            time.sleep(0.01)


@pytest.fixture
def runtime(tmp_path: Path, busybox_tar: bytes) -> Iterator[Runtime]:
    if not userns.mapped():
        needs_userns()
    found = Runtime(tmp_path, busybox_tar)
    yield found
    for name in found.ids:
        found("delete", "--force", name, check=False)
    shutil.rmtree(tmp_path, ignore_errors=True)
