"""`[oidc]`: who signs people in on the page."""

from __future__ import annotations

from ...words.rules import OidcRules
from .kind import SECRET, TEXTS
from .table import ConfigKey, ConfigTable

_HELP = "Who signs people in on the page, by OpenID Connect."
TABLE = ConfigTable("oidc", ("rules", "access", "oidc"), OidcRules, _HELP, (
    ConfigKey("issuer", "URL of the issuer; its redirect URI is `URL/-/callback`"),
    ConfigKey("client-id", "The registry's name at the issuer", field="client"),
    ConfigKey("client-secret", "Its secret there", SECRET, "secret"),
    ConfigKey("title", "What the button says"),
    ConfigKey("scopes", "What is asked for", TEXTS),
    ConfigKey("name-claim", "Which claim is the user's name", field="name"),
    ConfigKey("groups-claim", "Which claim has the user's groups", field="groups"),
    ConfigKey("teams", "Teams that follow groups, each `GROUP=TEAM`", TEXTS),
    ConfigKey("administrators", "Groups whose members administer the registry", TEXTS),
))  # fmt: skip
