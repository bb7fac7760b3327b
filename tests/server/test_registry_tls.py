"""TLS from files, renewed without a restart; plain HTTP where others can reach it only on request."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from nacre.services.server import RunningServer
from nacre.services.server.tls import TlsFiles
from nacre.words.errors import UsageError
from nacre.words.rules import RegistryRules, TlsRules

if not shutil.which("openssl"):
    pytest.skip("needs openssl", allow_module_level=True)


def pair(folder: Path, name: str, curve: str = "prime256v1") -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-nodes",
         "-keyout", key, "-out", cert, "-days", "3650", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return pair(tmp_path, "first")


def connected(url: str, **options: Any) -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    return http.client.HTTPSConnection(url.removeprefix("https://"), timeout=30, context=context)


def shown(url: str) -> str:
    """The certificate that the registry shows, in PEM."""
    connection = connected(url)
    try:
        connection.connect()
        return ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(True))
    finally:
        connection.close()


def is_shown(url: str, certificate: Path) -> bool:
    """The server that ends breaks off a handshake that is under way."""
    with suppress(ssl.SSLEOFError, ConnectionError):
        return shown(url) == certificate.read_text()
    return False


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def replace(path: Path, data: bytes) -> None:
    """At once: a file that is half written is one more that cannot be used, and told of."""
    whole = path.with_suffix(".whole")
    whole.write_bytes(data)
    whole.replace(path)


def test_a_certificate_is_renewed_while_requests_run(tmp_path: Path, files: tuple[Path, Path]) -> None:
    """Also when for a moment the certificate does not belong to the key; an upload under way goes on."""
    (cert, key), (newer, its_key), log = files, pair(tmp_path, "second"), []
    rules = RegistryRules(tls=TlsRules(str(cert), str(key)))
    with RunningServer(str(tmp_path / "r"), rules=rules, log=log.append) as serving:
        before = shown(serving.url)
        assert before == cert.read_text()
        upload = connected(serving.url)
        upload.putrequest("POST", "/v2/a/blobs/uploads/?digest=sha256:" + "0" * 64)
        upload.putheader("Content-Length", "4")
        upload.endheaders(b"ab")
        replace(cert, newer.read_bytes())
        until(lambda: log)
        assert "they do not belong together; the certificate of before stays" in log[0]
        assert shown(serving.url) == before
        replace(key, its_key.read_bytes())
        until(lambda: is_shown(serving.url, newer))
        upload.send(b"cd")
        assert upload.getresponse().status == 400  # the digest is not that of abcd
        upload.close()
    assert log[1:] == ["the certificate was renewed"]


def test_only_modern_protocols(tmp_path: Path, files: tuple[Path, Path]) -> None:
    rules = RegistryRules(tls=TlsRules(*map(str, files)))
    with RunningServer(str(tmp_path / "r"), rules=rules) as serving:
        for version in ("TLSv1_3", "TLSv1_2"):
            connection = connected(serving.url, maximum_version=ssl.TLSVersion[version])
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
            assert "GCM" in connection.sock.cipher()[0] or "CHACHA20" in connection.sock.cipher()[0]
            connection.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")  # without authenticated encryption
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        address = serving.url.removeprefix("https://").split(":")
        with (
            socket.create_connection((address[0], int(address[1])), 30) as plain,
            pytest.raises(ssl.SSLError),
        ):
            old.wrap_socket(plain)


def test_what_cannot_be_used(tmp_path: Path, files: tuple[Path, Path]) -> None:
    cert, key = files
    other, odd = pair(tmp_path, "other"), pair(tmp_path, "odd", "secp521r1")
    sealed = tmp_path / "sealed.key"
    command = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:x", "-out", sealed]
    subprocess.run(command, check=True, capture_output=True)
    for paths, said in (
        ((cert, other[1]), "they do not belong together"),
        ((cert, sealed), "is encrypted: take its passphrase off"),
        ((cert, tmp_path / "none"), "cannot read .*none: No such file or directory"),
        ((Path(__file__), key), "expected PEM"),
        (odd, "unsupported key of .*odd.pem: expected RSA, P-256, P-384 or Ed25519"),
    ):
        with pytest.raises(UsageError, match=said):
            TlsFiles(TlsRules(*map(str, paths)))
        with pytest.raises(UsageError, match=said):
            RunningServer(str(tmp_path / "r"), rules=RegistryRules(tls=TlsRules(*map(str, paths))))


def test_rules_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="TLS needs a certificate and its key"):
        TlsRules("a.pem")
    with pytest.raises(UsageError, match="--plain-http and --tls-cert exclude each other"):
        RegistryRules(tls=TlsRules("a", "b"), plain_http=True)
