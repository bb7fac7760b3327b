"""A certificate and its key from two files, the authorities of clients, and whether they have changed since.

What was checked is what is served: the bytes are handed to the HTTP server in memory, so a pair that is half
renewed never is. Renewing writes two files, so what does not fit together is looked at again.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...words.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...words.rules import ClientCertificateRules, TlsRules

    Stamp = tuple[tuple[int, int, int], ...]

_MOST = 1 << 20
_KEYS = tuple(
    map(bytes.fromhex, ("06092a864886f70d010101", "06082a8648ce3d030107", "06052b81040022", "06032b6570"))
)
"""Object identifiers of keys that rustls knows: RSA, P-256, P-384, Ed25519. At others it panics."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
OLDEST = "tls1.2"
"""As granian names it; its rustls offers authenticated encryption with forward secrecy alone."""


_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, as rustls has them."""


class TlsFiles:
    """The files that `rules` and `clients` name. Raises UsageError where they cannot be used."""

    def __init__(self, rules: TlsRules, clients: ClientCertificateRules | None = None) -> None:
        self._paths = (rules.cert, rules.key)
        self._clients = clients if clients and clients.authorities else None
        named = (self._clients.authorities, self._clients.revoked) if self._clients else ()
        self._trusted = tuple(filter(None, named))
        self._seen: Stamp = ()
        self._content = (b"", b"")
        self.trust: tuple[bytes, ...] = ()
        """What decides on certificates of clients: authorities, and lists of what is revoked."""
        self._load()

    @property
    def asks_clients(self) -> bool:
        """May clients show certificates?"""
        return self._clients is not None

    def _load(self) -> None:
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        content = (_read(self._paths[0]), _read(self._paths[1]))
        trust = tuple(map(_read, self._trusted))
        with _in_memory(content) as (cert, key):
            _check(cert, key, self._paths)
        if trust:
            self._trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trust)
        self._content, self.trust = content, trust

    def context(self) -> ssl.SSLContext:
        """For a server that asks clients for certificates. No session outlives it, as one that is taken up
        again is not verified again.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        with self.opened() as (cert, key):
            context.load_cert_chain(cert, key)
        self._trust(context, self.trust)
        assert self._clients
        context.verify_mode = ssl.CERT_REQUIRED if self._clients.required else ssl.CERT_OPTIONAL
        return context

    def _trust(self, context: ssl.SSLContext, trust: tuple[bytes, ...]) -> None:
        """Verify clients by these. Raises UsageError."""
        for path, kind, data in zip(self._trusted, ("x509", "crl"), trust, strict=False):
            with _in_memory((data, b"")) as (file, _):
                try:
                    context.load_verify_locations(file)
                except ssl.SSLError as error:
                    raise UsageError(f"cannot use {path}: {_why(error)}") from error
            if not context.cert_store_stats()[kind]:
                what = "list of revoked certificates" if kind == "crl" else "certificate"
                raise UsageError(f"there is no {what} in {path}: expected PEM")
        if len(trust) > 1:
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN

    def changed(self) -> bool:
        """Have they been renewed? Raises UsageError, once for each state; then those of before stay."""
        before = (self._content, self.trust)
        self._load()
        return (self._content, self.trust) != before

    @contextmanager
    def opened(self) -> Iterator[tuple[str, str]]:
        """Paths at which the two can be read while this lasts."""
        with _in_memory(self._content) as paths:
            yield paths

    def _stamp(self) -> Stamp:
        return tuple(map(_state, (*self._paths, *self._trusted)))


def _state(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def _in_memory(content: tuple[bytes, bytes]) -> Iterator[tuple[str, str]]:
    """Two files without a name; their paths."""
    files = [os.memfd_create(name) for name in ("cert", "key")]
    try:
        for fd, data in zip(files, content, strict=True):
            os.write(fd, data)
        yield f"/proc/self/fd/{files[0]}", f"/proc/self/fd/{files[1]}"
    finally:
        for fd in files:
            os.close(fd)


def _check(cert: str, key: str, paths: tuple[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except _Encrypted:
        raise UsageError(f"the key {paths[1]} is encrypted: take its passphrase off") from None
    except ssl.SSLError as error:
        raise UsageError(
            f"cannot use the certificate {paths[0]} with the key {paths[1]}: {_why(error)}"
        ) from error
    with open(cert, encoding="latin-1") as file:
        first = file.read().partition(_BEGIN)[2].partition(_END)[0]
    if not any(each in ssl.PEM_cert_to_DER_cert(_BEGIN + first + _END) for each in _KEYS):
        raise UsageError(f"unsupported key of {paths[0]}: expected RSA, P-256, P-384 or Ed25519")


def _why(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "they do not belong together"
    usual = not error.reason or error.reason in ("NO_START_LINE", "PEM", "BAD_BASE64_DECODE")
    return "expected PEM" if usual else error.reason.lower().replace("_", " ")


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    """Otherwise OpenSSL would ask on the terminal."""
    raise _Encrypted
