"""What only an attacker writes: layers, documents and images by hand, and a place that they aim at."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import stat
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layer:
    """One tar, member by member, with whatever names and links are asked for."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> Layer:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mtime = kind, len(data), 1_600_000_000
        info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        for field, value in fields.items():
            setattr(info, field, value)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name: str, data: bytes = b"evil", mode: int = 0o666) -> Layer:
        return self.add(name, data=data, mode=mode)

    def folder(self, name: str, mode: int = 0o755) -> Layer:
        return self.add(name, tarfile.DIRTYPE, mode=mode)

    def link(self, name: str, target: str) -> Layer:
        return self.add(name, tarfile.SYMTYPE, linkname=target, mode=0o777)

    def hard(self, name: str, target: str) -> Layer:
        return self.add(name, tarfile.LNKTYPE, linkname=target, mode=0o777)

    def fifo(self, name: str) -> Layer:
        return self.add(name, tarfile.FIFOTYPE)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


class Image:
    """An image whose every byte can be changed before it is shown to anybody."""

    def __init__(self, *layers: bytes, run: Mapping[str, Any] | None = None, **fields: Any) -> None:
        self.blobs: dict[str, bytes] = {}
        config = {
            "architecture": MACHINE, "os": "linux",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]} | dict(run or {}),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        }  # fmt: skip
        self.manifest: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self.blob(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
            "layers": [self.blob(layer, f"{OCI}.layer.v1.tar") for layer in layers],
        } | fields  # fmt: skip

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    @property
    def document(self) -> bytes:
        return json.dumps(self.manifest).encode()

    def files(self, name: str = "evil:1") -> dict[str, bytes]:
        """The files of an OCI layout."""
        document = self.document
        entry = {"mediaType": MANIFEST, "digest": digest_of(document), "size": len(document)}
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        index = {"schemaVersion": 2, "manifests": [entry]}
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index).encode()}
        for digest, data in {**self.blobs, digest_of(document): document}.items():
            files[f"blobs/sha256/{digest.removeprefix('sha256:')}"] = data
        return files

    def archive(self, name: str = "evil:1") -> bytes:
        """An OCI layout as one tar."""
        tar = Layer()
        for path, data in self.files(name).items():
            tar.file(path, data)
        return tar.bytes()

    def unpack(self, folder: Path) -> None:
        """An OCI layout as a folder."""
        for path, data in self.files().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)

    def publish(self, fake: Any, name: str = "evil", tag: str = "1") -> str:
        """Put it into a `FakeRegistry`; the reference to pull."""
        for digest, data in self.blobs.items():
            fake.blobs[name, digest] = data
        fake.add_manifest(name, tag, self.document, self.manifest["mediaType"])
        return f"{fake.host}/{name}:{tag}"


def docker_archive(manifest: Any, members: Mapping[str, bytes]) -> bytes:
    """The form of `docker save` before there was OCI."""
    tar = Layer().file("manifest.json", json.dumps(manifest).encode())
    for name, data in members.items():
        tar.file(name, data)
    return tar.bytes()


class Outside:
    """A folder of the host that nobody may read, change or even touch."""

    SECRET = "this is the host's secret"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inner").mkdir(parents=True)
        (folder / "y").mkdir()
        for name in ("secret", "inner/secret", "passwd"):
            (folder / name).write_text(self.SECRET)
            (folder / name).chmod(0o640)
        self._before = self._snapshot()

    def __str__(self) -> str:
        return str(self.folder)

    def from_root(self, depth: int = 20) -> str:
        """The same place as a relative path that climbs."""
        return "../" * depth + str(self.folder).lstrip("/")

    def _snapshot(self) -> dict[str, Any]:
        paths = [self.folder, *sorted(self.folder.rglob("*"))]
        return {str(path): self._looks(path) for path in paths}

    def _looks(self, path: Path) -> tuple[Any, ...]:
        info = os.lstat(path)
        content = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        return info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_ctime_ns, content

    def check(self) -> None:
        """Nothing was added, removed or touched. The times of change give away even a chmod to the same."""
        assert self._snapshot() == self._before


def sentence(result: Any, code: int | tuple[int, ...] = 1) -> str:
    """Assert that a command failed the way it should: docker's code, one sentence; returns that."""
    codes = (code,) if isinstance(code, int) else code
    assert result.code in codes, result
    assert "Traceback" not in result.err, result
    assert "internal error" not in result.err, result
    said = [line for line in result.err.splitlines() if line.startswith("nacre: ")]
    assert len(said) == 1, result
    rest = result.err.split(said[0] + "\n", 1)[1].splitlines()
    assert all(line.startswith("hint: ") for line in rest), result
    assert len(rest) <= 1, result
    return said[0].removeprefix("nacre: ")


def leftovers(root: Path, *, allow: Sequence[str] = ()) -> list[str]:
    """What no finished command may leave in a store, except partial downloads of a known digest."""
    found = [path for kind in ("active", "containers", "leases", "trash") for path in root.glob(f"{kind}/*")]
    found += [*root.glob("build/run-*"), *root.glob("build/context-*")]
    found += [path for path in root.glob("ingest/*") if not _resumable(path)]
    found += root.glob("**/*.tmp")
    return sorted(str(path.relative_to(root)) for path in found if path.name not in allow)


def _resumable(path: Path) -> bool:
    name = path.name.removesuffix(".lock")
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
