"""`[ldap]`: which LDAP server knows passwords."""

from __future__ import annotations

from ...words.rules import LdapRules
from .kind import DURATION, FLAG, PATH, SECRET, TEXTS
from .table import ConfigKey, ConfigTable

_HELP = "Which LDAP server knows the passwords of those who have none here. See registry-access.md."
TABLE = ConfigTable("ldap", ("rules", "access", "ldap"), LdapRules, _HELP, (
    ConfigKey("url", "The server: `ldaps://HOST[:PORT]`, or `ldap://HOST[:PORT]`"),
    ConfigKey("start-tls", "Begin TLS on `ldap://`; a must unless the server is on this machine", FLAG),
    ConfigKey("certificates", "Certificates of authorities (PEM) that sign the server's", PATH),
    ConfigKey("bind-dn", "Who searches there; none: nobody in particular"),
    ConfigKey("password", "The password of `bind-dn`", SECRET),
    ConfigKey("base", "Below which entry users are searched"),
    ConfigKey("filter", "Which entry is the user's; `{user}` is the name that was given"),
    ConfigKey("user-dn", "Instead of a search: the name of the user's entry, with `{user}` in it"),
    ConfigKey("groups-attribute", "Which attribute of the entry has the user's groups", field="groups"),
    ConfigKey("teams", "Teams that follow groups, each `GROUP=TEAM`", TEXTS),
    ConfigKey("administrators", "Groups whose members administer the registry", TEXTS),
    ConfigKey("timeout", "How long the server may take for each answer", DURATION),
))  # fmt: skip
