"""The image of the heavy scenarios: about 1.4 GB and 45,000 files of Debian packages in five gzip layers."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from .harness import Skip
from .peers import Nacre, require

NAME = "bench-big:1"
DEBIAN = "bench-debian:latest"
_APT = "apt-get install -y --no-install-recommends"
_DOCKERFILE = f"""\
FROM bench-debian
RUN apt-get update && {_APT} python3 python3-numpy python3-pip && apt-get clean
RUN {_APT} gcc g++ make git && apt-get clean
RUN {_APT} golang-go && apt-get clean
RUN {_APT} python3-pandas libboost1.74-dev && apt-get clean && rm -rf /var/lib/apt/lists/*
"""
SLIM = "bench-slim:latest"
_SLIM = """\
FROM {base}
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/speedup && \\
    echo 'DPkg::Post-Invoke {{ "rm -f /var/cache/apt/archives/*.deb || true"; }};' > /etc/apt/apt.conf.d/clean
"""
COMPILER = "bench-gcc:latest"
_COMPILER = f"FROM {SLIM}\nRUN apt-get update && {_APT} gcc libc6-dev && rm -rf /var/lib/apt/lists/*\n"
_CONFIG = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"}}
"""


def debian(nacre: Nacre, folder: Path) -> str:
    """A minimal Debian in nacre's store; its name. Needs mmdebstrap and a Debian mirror. Raises Skip."""
    require("mmdebstrap")
    if not _has(nacre, DEBIAN):
        root = folder / "root.tar"
        words = ["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", str(root)]
        done = subprocess.run(words, capture_output=True, check=False)
        if done.returncode:
            raise Skip("mmdebstrap: " + done.stderr.decode(errors="replace")[-200:])
        nacre.call("import", str(root), DEBIAN)
        root.unlink()
    return DEBIAN


def slim(nacre: Nacre, folder: Path, base: str) -> str:
    """A Debian as its official image is: no package stays, and dpkg unpacks without fsync(2)."""
    if not _has(nacre, SLIM):
        (folder / "Dockerfile").write_text(_SLIM.format(base=base))
        nacre.call("build", "-t", SLIM, str(folder))
    return SLIM


def compiler(nacre: Nacre, folder: Path, proxy: str) -> str:
    """The same with a compiler."""
    if not _has(nacre, COMPILER):
        (folder / "Dockerfile").write_text(_COMPILER)
        words = ["build", "-t", COMPILER, "--network", "host", "--build-arg", f"http_proxy={proxy}"]
        nacre.call(*words, str(folder))
    return COMPILER


def make(nacre: Nacre, folder: Path) -> str:
    """Build the big image in nacre's store, which has the Debian; gives its name. Raises Skip."""
    if not _has(nacre, NAME):
        (folder / "Dockerfile").write_text(_DOCKERFILE)
        nacre.call("build", "-t", NAME, "-f", str(folder / "Dockerfile"), str(folder))
    return NAME


def _has(nacre: Nacre, name: str) -> bool:
    return name in nacre.call("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def registry(folder: Path, stack: ExitStack, program: str = "docker-registry") -> str:
    """`host:port` of a docker-registry of our own on loopback, with its data in `folder`. Raises Skip."""
    require(program)
    (folder / "config.yml").write_text(_CONFIG.format(root=folder / "data"))
    words = [shutil.which(program) or program, "serve", str(folder / "config.yml")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stderr=log, stdout=log)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return _address(process, folder / "log")


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        if found:
            return found[1]
    raise Skip("docker-registry does not start: " + log.read_text()[-200:])
