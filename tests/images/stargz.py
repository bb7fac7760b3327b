"""eStargz for tests: a member for the content of each file, its table behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

from nacre.grammars.chunked.goheader import header


def stargz(files: dict[str, bytes]) -> tuple[bytes, str, bytes]:
    """The blob, the digest of its table, and the tar that it decompresses to."""
    out, rows, pending = io.BytesIO(), list[dict[str, Any]](), b""
    for name, data in files.items():
        row: dict[str, Any] = {"name": name, "type": "reg", "size": len(data), "mode": 0o644}
        out.write(gzip.compress(pending + header(row, "ustar", (b"", b"")), 6, mtime=0))
        rows.append(row | {"offset": out.tell(), "digest": _digest(data), "chunkDigest": _digest(data)})
        pending = data + bytes(-len(data) % 512)
    out.write(gzip.compress(pending, 6, mtime=0))
    return _ended(out, json.dumps({"version": 1, "entries": rows}).encode())


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _ended(out: io.BytesIO, table: bytes) -> tuple[bytes, str, bytes]:
    start, tar = out.tell(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("stargz.index.json")
        info.size = len(table)
        archive.addfile(info, io.BytesIO(table))
    out.write(gzip.compress(tar.getvalue(), 6, mtime=0))
    field = b"SG\x16\0" + b"%016xSTARGZ" % start
    out.write(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0" + field + b"\x01\0\0\xff\xff" + bytes(8))
    blob = out.getvalue()
    return blob, _digest(table), gzip.decompress(blob)
