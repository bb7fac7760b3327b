"""Users whom others know: by the subject of an issuer, with teams that follow its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....stores.accounts.model import ExternalUser

if TYPE_CHECKING:
    from ....stores.accounts.reading import Accounts, KnownUser
    from ....stores.catalog import Catalog
    from ....words.rules import LdapRules, OidcRules


def external(rules: OidcRules | LdapRules, subject: str, name: str, groups: set[str]) -> ExternalUser:
    """With the teams of the groups, by the rules."""
    pairs = [pair.rpartition("=")[::2] for pair in rules.teams]
    administrator = bool(groups & set(rules.administrators)) if rules.administrators else None
    followed = tuple(dict.fromkeys(team for _, team in pairs))
    teams = tuple(dict.fromkeys(team for group, team in pairs if group in groups))
    return ExternalUser(rules.issuer, subject, name, followed, teams, administrator)


def admitted(accounts: Accounts, catalog: Catalog, user: ExternalUser) -> KnownUser | None:
    """The user here, who is made if there is none; None if disabled. In a thread. Raises Conflict,
    InvalidName.
    """

    def is_taken(name: str) -> bool:
        """Who has a name owns its namespace: nobody may come to one that others fill by choosing a name."""
        below = catalog.repositories(f"{name}/", 1)
        return catalog.exists(name) or any(each.startswith(f"{name}/") for each in below)

    return accounts.changed(accounts.administration().identities.admit(user, is_taken))
