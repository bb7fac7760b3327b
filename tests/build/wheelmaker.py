"""Wheels made by hand, honest and hostile, and an index on loopback that serves them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def record_hash(data: bytes) -> str:
    """As RECORD has it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def wheel(
    name: str, version: str = "1.0", files: Mapping[str, bytes | str] | None = None, *,
    requires: Sequence[str] = (), scripts: Mapping[str, str] | None = None, tag: str = "py3-none-any",
    record: Mapping[str, str] | None = None, extra: Sequence[tuple[zipfile.ZipInfo, bytes]] = (),
    more: str = "",
) -> tuple[str, bytes]:  # fmt: skip
    """A file name and its bytes. `record` replaces hashes in RECORD, `extra` are members as they are."""
    info = f"{name}-{version}.dist-info"
    found = {path: one.encode() if isinstance(one, str) else one for path, one in (files or {}).items()}
    found = found or {f"{name}.py": f"VERSION = {version!r}\n".encode()}
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    found[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}{more}".encode()
    )
    found.setdefault(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode())
    if scripts:
        rows = "".join(f"{key} = {value}\n" for key, value in scripts.items())
        found[f"{info}/entry_points.txt"] = f"[console_scripts]\n{rows}".encode()
    hashes = {path: record_hash(data) for path, data in found.items()} | dict(record or {})
    lines = [f"{path},{value},{len(found.get(path, b''))}" for path, value in hashes.items()]
    found[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in found.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        for member, data in extra:
            archive.writestr(member, data)
    return f"{name}-{version}-{tag}.whl", out.getvalue()


class Index(ThreadingHTTPServer):
    """A simple index: JSON, or HTML with `html`; with a `login` only for who knows user and password."""

    def __init__(self, *, html: bool = False, login: tuple[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.html, self.login = html, login
        self.files: dict[str, bytes] = {}
        self.lies: dict[str, str] = {}
        self.asked: list[str] = []
        self.metadata = False
        """Whether METADATA lies beside the wheels (PEP 658)."""
        self.url = f"http://127.0.0.1:{self.server_port}/simple"

    def add(self, *wheels: tuple[str, bytes]) -> None:
        """Offer files."""
        self.files |= dict(wheels)

    def sha256(self, name: str) -> str:
        """The hash that the index tells of a file."""
        return self.lies.get(name) or hashlib.sha256(self.files[name]).hexdigest()

    def file(self, name: str) -> bytes:
        """A file, or the METADATA of one, b"" for what is not there."""
        wheel = self.files.get(name.removesuffix(".metadata"), b"")
        if not self.metadata or not name.endswith(".metadata"):
            return self.files.get(name, b"")
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            return next(archive.read(one) for one in archive.namelist() if one.endswith("/METADATA"))

    def page(self, package: str) -> bytes:
        """The page of a package, b"" for one that is not there."""
        names = [name for name in self.files if name.partition("-")[0].lower().replace("_", "-") == package]
        if self.html:
            rows = [f'<a href="../../files/{name}#sha256={self.sha256(name)}">{name}</a>' for name in names]
            return f"<html><body>{''.join(rows)}</body></html>".encode() if names else b""
        rows_ = [
            {"filename": name, "url": f"../../files/{name}", "hashes": {"sha256": self.sha256(name)},
             "size": len(self.files[name]), "core-metadata": self.metadata}
            for name in names
        ]  # fmt: skip
        return json.dumps({"meta": {"api-version": "1.1"}, "files": rows_}).encode() if names else b""


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        index = self.server
        index.asked.append(self.path)
        said = self.headers.get("authorization", "")
        if index.login and said != f"Basic {base64.b64encode(':'.join(index.login).encode()).decode()}":
            return self._answer(401, b"no", "text/plain")
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "files":
            body, media = index.file(name), "application/octet-stream"
        else:
            body = index.page(name)
            media = "text/html" if index.html else "application/vnd.pypi.simple.v1+json"
        return self._answer(200 if body else 404, body, media)

    def _answer(self, status: int, body: bytes, media: str) -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("www-authenticate", 'Basic realm="packages"')
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    """The index at work."""
    with index:
        thread = threading.Thread(target=lambda: index.serve_forever(0.01), daemon=True)
        thread.start()
        try:
            yield index
        finally:
            index.shutdown()
            thread.join()
