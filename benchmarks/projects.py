"""Python projects: ten packages as layers of wheels, beside a Dockerfile that installs them by pip.

The packages are parts of Python's own library under other names, so that there is as much to compile as in
real ones; both find them in a folder. pip runs from its wheel, in a RUN of nacre: no base image with pip can
be had without a network.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .bench import Bench
from .harness import Case, Scenario

PARTS = (
    "asyncio", "email", "unittest", "xml", "http", "importlib", "concurrent", "ctypes", "multiprocessing",
    "encodings",
)  # fmt: skip
_PIP = ("/usr/share/python-wheels/pip-*.whl", f"{sysconfig.get_path('stdlib')}/ensurepip/_bundled/pip-*.whl")
DOCKERFILE = """\
FROM host:python3
COPY . /src
RUN PYTHONPATH=/src/{pip} python3 -m pip install --quiet --no-index --find-links /src/wheels \\
    --target /opt/packages -r /src/requirements.txt
"""


def wheel(folder: Path, part: str, version: str) -> None:
    """A package `bench_PART` with the modules of a part of the library."""
    name, source = f"bench_{part}", Path(sysconfig.get_path("stdlib"), part)
    files = {f"{name}/{path.relative_to(source)}": path.read_bytes() for path in sorted(source.rglob("*.py"))}
    info = f"{name}-{version}.dist-info"
    files[f"{name}/version.py"] = f"VERSION = {version!r}\n".encode()
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as out:
        for path, data in files.items():
            out.writestr(path, data)


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


class Wheels(Scenario):
    """Ten packages, nothing of them in the store."""

    name = "python-wheels"
    question = "ten packages of Python into an image, nothing kept"
    moves = False

    def cases(self, bench: Bench) -> Iterator[Case]:
        found = [path for pattern in _PIP for path in sorted(glob.glob(pattern))]
        for peer in bench.each("nacre"):
            if isinstance(peer, Case):
                yield peer
                continue
            yield self._case(bench, "nacre", [*peer.words, "build"], peer.env, "")
            if found:
                yield self._case(bench, "RUN pip install", [*peer.words, "build"], peer.env, found[0])
            else:
                yield Case("RUN pip install", (), skipped="there is no wheel of pip on this machine")

    def _case(self, bench: Bench, name: str, words: Sequence[str], env: dict[str, str], pip: str) -> Case:
        folder = bench.fresh(self.name)
        (folder / "wheels").mkdir()
        for part in PARTS:
            wheel(folder / "wheels", part, "1.0")
        if pip:
            (folder / os.path.basename(pip)).write_bytes(Path(pip).read_bytes())
            (folder / "Dockerfile").write_text(DOCKERFILE.format(pip=os.path.basename(pip)))
        (folder / ".dockerignore").write_text("" if pip else "wheels\n")
        flags = [] if self.moves else ["--no-cache"]
        found = {**env, "PIP_FIND_LINKS": str(folder / "wheels"), "PIP_NO_INDEX": "1"}
        return Case(
            name,
            [*words, *flags, "-t", self.name, "."],
            found,
            folder,
            before=lambda n: self._moved(folder, n),
        )

    def _moved(self, folder: Path, number: int) -> None:
        version = f"1.{number + 10}" if self.moves else "1.0"
        if self.moves:
            wheel(folder / "wheels", "http", version)
        pins = [f"bench_{part}=={version if part == 'http' else '1.0'}\n" for part in PARTS]
        (folder / "requirements.txt").write_text("".join(pins))


class Moved(Wheels):
    """The same once more, after one of them has got another version."""

    name = "python-moved"
    question = "the same when one of the ten has moved"
    moves = True


SCENARIOS: Sequence[Scenario] = (Wheels(), Moved())
