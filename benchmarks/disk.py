"""How much disk ten versions of an application take, each a `pip install` in which one package moved."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .bench import Bench
from .harness import Skip, Weighed
from .peers import Nacre, Peer

_VERSIONS = ("2.9", "2.10", "3.0", "3.1", "3.2", "3.3", "3.4", "3.6", "3.7", "3.10")
_PACKAGES = ("numpy==1.26.4", "pandas==2.2.2", "requests==2.32.3", "flask==3.0.3")
_BASE = """\
FROM bench-debian
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip && apt-get clean \\
    && rm -rf /var/lib/apt/lists/*
COPY wheels /wheels
"""
_APP = f"""\
FROM bench-python
ARG MOVED
RUN pip install --break-system-packages --no-cache-dir --no-index --find-links /wheels \\
    {" ".join(_PACKAGES)} idna==$MOVED
"""


class Versions(Weighed):
    """The same ten images, pulled by every peer into empty storage."""

    name = "versions"
    question = "disk for ten versions of an application image (pip install, one package moved)"

    def weigh(self, bench: Bench) -> Iterator[tuple[str, int | str]]:
        """Bytes on disk, each inode once, or why not."""
        images = self._built(bench)
        folder = bench.fresh("versions")
        yield "nacre", self._pulled(bench.nacre.at(folder / "nacre"), folder / "nacre", images)
        for name in ("docker", "podman"):
            try:
                peer = bench.fresh_docker() if name == "docker" else bench.podman.at(folder / "podman")
                yield name, self._pulled(peer, peer.storage, images)
            except Skip as reason:
                yield name, str(reason)

    def _built(self, bench: Bench) -> list[str]:
        nacre, folder = bench.nacre, bench.fresh("versions-context")
        _download(folder / "wheels")
        (folder / "base").write_text(_BASE)
        (folder / "app").write_text(_APP)
        assert bench.debian
        nacre.call("build", "-t", "bench-python", "-f", str(folder / "base"), str(folder))
        return [self._version(bench, nacre, folder, version) for version in _VERSIONS]

    def _version(self, bench: Bench, nacre: Nacre, folder: Path, version: str) -> str:
        name = f"{bench.registry}/bench-versions:{version}"
        words = ["--build-arg", f"MOVED={version}", "-f", str(folder / "app"), str(folder)]
        nacre.call("build", "-t", name, *words)
        nacre.call("push", "-q", name)
        return name

    def _pulled(self, peer: Peer, storage: Path, images: list[str]) -> int:
        flags = ["--tls-verify=false"] if peer.name == "podman" else []
        for image in images:
            peer.call("pull", "-q", *flags, image)
        os.sync()
        return usage(storage)


def _download(folder: Path) -> None:
    for moved in _VERSIONS:
        words = ["download", "-q", "--only-binary=:all:", "--python-version=3.11", "-d", str(folder)]
        more = _PACKAGES if moved == _VERSIONS[0] else ()
        command = [sys.executable, "-m", "pip", *words, *more, f"idna=={moved}"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise Skip("pip download: " + done.stderr.decode(errors="replace")[-200:])


def usage(folder: Path) -> int:
    """Bytes of disk below a folder, each inode once."""
    seen: set[int] = set()
    total = 0
    for place, _, files in os.walk(folder):
        for path in (place, *(f"{place}/{name}" for name in files)):
            found = os.lstat(path)
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                total += found.st_blocks * 512
    return total


SCENARIOS = (Versions(),)
