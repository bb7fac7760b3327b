"""Examples of the frontend's reference: what each makes."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from referencerows import ELSEWHERE, ROWS, Row

from nacre import Config, Engine
from nacre.engine.outputs import BuildOutput
from nacre.ground import userns
from nacre.services.build import BuildOptions
from nacre.words.errors import NacreError

PARTS = 4
_IGNORED = ("bin", "etc", "root", "tmp", "lib", "usr/bin", "sbin", "dev", "proc", "sys")


def laid(folder: Path, row: Row) -> Path:
    for name, text in {"Dockerfile": row.dockerfile, **row.context}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(archive(text) if name == "f.tar" else text.encode())
        path.chmod(0o644)
    return folder


def archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(name)
        tar.addfile(info, io.BytesIO(name.encode()))
    return gzip.compress(buffer.getvalue())


def built(engine: Engine, folder: Path, row: Row) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """The files of what a row makes, their modes, and its run configuration."""
    done = engine.build(folder, options=BuildOptions(**row.options))
    buffer = io.BytesIO()
    engine.outputs.write(done.images, BuildOutput("tar"), target=buffer)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        found = {item.name.removeprefix("./"): item for item in tar}
        texts = {
            name: tar.extractfile(item).read().decode("utf-8", "replace")  # type: ignore[union-attr]
            for name, item in found.items()
            if item.isfile()
        }
    modes = {name: f"{item.mode:o} {item.uid}:{item.gid}" for name, item in found.items()}
    return texts, modes, done.image.config.raw["config"]


def difference(engine: Engine, folder: Path, row: Row) -> str:
    """What a row makes that it should not, or ""."""
    try:
        texts, modes, config = built(engine, laid(folder, row), row)
    except NacreError as error:
        return "" if row.error and row.error in error.message else f"raised {error.message}"
    if row.error:
        return "raised nothing"
    is_busybox = "busybox" in row.dockerfile.rpartition("FROM ")[2]
    files = {name: text for name, text in texts.items() if not (is_busybox and name.startswith(_IGNORED))}
    wanted = row.files or {}
    if files.keys() != wanted.keys() or any(wanted[name] not in (text, "*") for name, text in files.items()):
        return f"files: {files}" if row.files is not None or files else ""
    seen = {name: modes.get(name) for name in row.modes}
    fields = {name: config.get(name) for name in row.config}
    if "Env" in fields:
        fields["Env"] = ["PATH=*" if pair.startswith("PATH=") else pair for pair in fields["Env"]]
    return "" if (seen, fields) == (row.modes, row.config) else f"{seen} {fields}"


@pytest.mark.parametrize("part", range(PARTS))
def test_every_example(nacre: Any, busybox_image: str, tmp_path: Path, needs_ids: None, part: int) -> None:
    """Many in one store, because a store for each would take longer than all builds.

    And in one process of the user namespace: a fork of pytest for each costs six times as much as the build.
    """
    names = [row.heading for row in ROWS]
    assert len(names) == len(set(names))
    work = differences, str(nacre.root), tmp_path, ROWS[part::PARTS]
    found = work[0](*work[1:]) if userns.mapped() else userns.call(*work)
    wrong = {heading: text for heading, text in found.items() if text}
    assert not wrong, "\n".join(f"{heading}: {text}" for heading, text in wrong.items())


def differences(root: str, folder: Path, rows: list[Row]) -> dict[str, str]:
    with Engine(Config(root=root)) as engine:
        return {
            row.heading: difference(engine, folder / f"context{number}", row)
            for number, row in enumerate(rows)
        }


def test_what_is_not_built_here_has_a_reason() -> None:
    assert all(len(reason.split()) > 2 for reason in ELSEWHERE.values())
