"""An authority of the tests, which signs certificates of servers and clients, and takes them back."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest

x509 = pytest.importorskip("cryptography.x509")
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

_DAY = datetime.timedelta(days=1)


class Authority:
    """With its files in `folder`: `NAME.pem`, and what it signs."""

    def __init__(self, folder: Path, name: str = "authority", above: Authority | None = None) -> None:
        self._folder, self.name = folder, name
        self._key, self._revoked = ec.generate_private_key(ec.SECP256R1()), []
        signer = above or self
        self.subject = _named(name)
        made = self._builder(self.subject, self._key.public_key(), signer)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        made = made.add_extension(x509.KeyUsage(**usage), critical=True)
        self.certificate = made.sign(signer._key, hashes.SHA256())
        self.file = self._write(f"{name}.pem", self.certificate)

    @property
    def known_by(self) -> Any:
        """What Python 3.13 and RFC 5280 want in all that it signs."""
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    def _builder(self, subject: Any, key: Any, issuer: Authority, days: float = 3650) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject).public_key(key)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        made = made.add_extension(issuer.known_by, critical=False)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - 30 * _DAY)
        return made.not_valid_after(now + days * _DAY)

    def sign(self, name: str, *alternatives: Any, days: float = 365, server: bool = False) -> Path:
        """Certificate and key of a subject, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(_named(name), key.public_key(), self, days)
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = made.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternatives:
            made = made.add_extension(x509.SubjectAlternativeName(list(alternatives)), critical=False)
        signed = made.sign(self._key, hashes.SHA256())
        path = self._write(f"{self.name}-{name.replace('/', '-')}.pem", signed)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.with_suffix(".key").write_bytes(secret)
        return path

    def revoke(self, *paths: Path) -> Path:
        """The list of what it has taken back, with these as well."""
        now = datetime.datetime.now(datetime.UTC)
        for path in paths:
            serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY)
            self._revoked.append(entry.build())
        made = x509.CertificateRevocationListBuilder().issuer_name(self.subject)
        made = made.last_update(now - _DAY).next_update(now + 30 * _DAY)
        made = made.add_extension(self.known_by, critical=False)
        for entry in self._revoked:
            made = made.add_revoked_certificate(entry)
        return self._write(f"{self.name}.crl", made.sign(self._key, hashes.SHA256()))

    def _write(self, name: str, made: Any) -> Path:
        path = self._folder / f"{name}.new"
        path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return path.replace(self._folder / name)

    def context(self, shown: Path | None = None) -> ssl.SSLContext:
        """Of a client that trusts it, and shows a certificate."""
        context = ssl.create_default_context(cafile=str(self.file))
        if shown:
            context.load_cert_chain(shown, shown.with_suffix(".key"))
        return context


_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def _named(name: str) -> Any:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
