"""Images made by hand, layer by layer, as an OCI layout: what no builder would write."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"


class Layer:
    """One tar, member by member."""

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

    def folder(self, name: str, **fields: Any) -> Layer:
        return self.add(name, tarfile.DIRTYPE, **fields)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def write_layout(
    folder: Path, layers: list[bytes], tag: str = "test", settings: dict[str, Any] | None = None
) -> str:
    """An OCI layout of one image in `folder`, with these `settings`; returns the digest of its manifest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(data)}

    config = {
        "architecture": "amd64", "os": "linux",
        "config": settings or {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
        "rootfs": {
            "type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
        },
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), f"{OCI}.config.v1+json"),
        "layers": [blob(gzip.compress(layer, 1, mtime=0), f"{OCI}.layer.v1.tar+gzip") for layer in layers],
    }  # fmt: skip
    entry = blob(json.dumps(manifest).encode(), f"{OCI}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(entry["digest"])
