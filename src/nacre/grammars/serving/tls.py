"""`[tls]`: the certificate of the registry."""

from __future__ import annotations

from ...words.rules import TlsRules
from .kind import FLAG, PATH
from .table import ConfigKey, ConfigTable

TABLE = ConfigTable("tls", ("rules", "tls"), TlsRules, "The certificate of the registry.", (
    ConfigKey("cert", "Certificate (PEM), its chain after it; read again when it changes", PATH,
              flag="tls_cert"),
    ConfigKey("key", "Key of the certificate (PEM)", PATH, flag="tls_key"),
    ConfigKey("plain-http", "Serve without TLS on an address that other machines reach", FLAG,
              flag="plain_http", at=("rules",)),
))  # fmt: skip
