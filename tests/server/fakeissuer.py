"""An issuer of tokens on loopback: GitHub's, GitLab's or that of a company."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey


class FakeIssuer:
    """Publishes `keys` and whatever `answers` holds by path; counts what it was asked."""

    def __init__(self) -> None:
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
        self.ec = ECKey.generate_key("P-256", {"kid": "ec"})
        self.ed = OKPKey.generate_key("Ed25519", {"kid": "ed"})
        self.keys: list[Any] = [self.rsa, self.ec, self.ed]
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.document: dict[str, Any] = {}
        self.url = ""
        self.posted: list[dict[str, str]] = []
        self.redeem: Callable[[dict[str, str]], dict[str, Any]] = lambda _form: {}

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str | None = "", **claims: Any) -> str:
        """Of a job of org/app for a registry; claims that are None are left out."""
        now = int(time.time())
        usual = {
            "iss": self.url, "aud": "nacre-registry", "sub": "repo:org/app:ref:refs/heads/main",
            "iat": now, "nbf": now, "exp": now + 300, "jti": f"{time.monotonic_ns()}",
            "repository": "org/app", "ref": "refs/heads/main",
        }  # fmt: skip
        key = key or self.rsa
        header = {"alg": algorithm} | ({"kid": kid or key.kid} if kid is not None else {})
        body = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(header, body, key, algorithms=[algorithm])

    def find(self, path: str) -> bytes | None:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            document = {name: f"{self.url}/{path}" for name, path in names.items()}
            return json.dumps({"issuer": self.url, **document, **self.document}).encode()
        if path == "/keys":
            return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()
        return None


def by_secret(token: str, secret: bytes) -> str:
    """The same claims, with a secret for a key: what a library would take that lets the token choose."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').decode().rstrip("=")
    signed = f"{head}.{token.split('.')[1]}"
    mark = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


@contextmanager
def issuing() -> Iterator[FakeIssuer]:
    issuer = FakeIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = issuer.find(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            issuer.posted.append(form)
            data = json.dumps(issuer.redeem(form)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
