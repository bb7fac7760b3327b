"""`[client-certificates]`: by which certificates clients log in."""

from __future__ import annotations

from ...words.rules import ClientCertificateRules
from .kind import FLAG, PATH, TEXTS
from .table import ConfigKey, ConfigTable

_HELP = "By which certificates clients log in. See registry-access.md."
_PLACE = ("rules", "access", "certificates")
TABLE = ConfigTable("client-certificates", _PLACE, ClientCertificateRules, _HELP, (
    ConfigKey("authorities", "Certificates of authorities (PEM) that sign those of clients; read again when"
              " it changes", PATH),
    ConfigKey("revoked", "Lists of revoked certificates (CRL, PEM), one of each authority; read again when it"
              " changes", PATH),
    ConfigKey("required", "No client comes without one", FLAG),
    ConfigKey("users", "Who they are, each `FIELD:PATTERN=USER`; fields are `cn`, `dns`, `email`, `uri`,"
              " `sha256`", TEXTS),
))  # fmt: skip
