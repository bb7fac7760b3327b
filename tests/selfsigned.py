"""Certificates that nobody trusts until they are named."""

from __future__ import annotations

import socketserver
import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, *names: str, file: str = "cert.pem") -> Path:
    """A self-signed one for `names` (`DNS:…`, `IP:…`), with its key in the same file. Needs openssl."""
    path = folder / file
    extension = ["-addext", "subjectAltName=" + ",".join(names)] if names else []
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path.with_suffix(".key"),
         "-out", path, "-days", "3650", "-subj", "/CN=localhost", *extension],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.with_suffix(".key").read_bytes() + path.read_bytes())
    return path


def speak_tls(server: socketserver.TCPServer, path: Path) -> None:
    """From now on by TLS, with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
