"""Who the user is, from every place where that may be written down.

    1. variables    NACRE_AUTH_<HOST>=user:password    "." as "_", "-" as "__", ":" as "___", upper case
    2. files        docker's config.json, containers' auth.json: the first that knows the registry

`<token>` as the user makes the rest an identity token, as credential helpers have it. The spelling of hosts
can be read in one way only, so that no variable is ever meant for one host and sent to another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...grammars.wire.auth import Credentials
from ...words.errors import UsageError
from .credentials import TOKEN_USER, DockerConfig

PREFIX = "NACRE_AUTH_"


class Logins:
    """All places, asked in order. `lookup` is a `Lookup` for `ClientConfig`; the first file is written to."""

    def __init__(self, files: Sequence[DockerConfig], environment: Mapping[str, str]) -> None:
        self.files, self._environment = files, environment

    def lookup(self, name: str) -> Credentials | None:
        """What is known for `registry[/repository]`. Raises UsageError for a malformed variable alone."""
        registry = name.partition("/")[0]
        variable = variable_name(registry)
        if variable in self._environment:
            return _of_variable(variable, self._environment[variable])
        problem = None
        for file in self.files:
            found = file.lookup(name)
            if found:
                return found
            problem = found if problem is None else problem
        return problem

    def store(self, registry: str, credentials: Credentials) -> str:
        """As `DockerConfig.store`, in the first file."""
        return self.files[0].store(registry, credentials)

    def erase(self, registry: str) -> bool:
        """Forget credentials in every file that has them; False if none has. Raises StoreError."""
        found = [file.erase(registry) for file in self.files]
        return any(found)

    @property
    def path(self) -> str:
        """The file that is written to."""
        return self.files[0].path


def variable_name(registry: str) -> str:
    """The variable with credentials for a registry: `NACRE_AUTH_GHCR_IO` for `ghcr.io`."""
    spelled = registry.replace("-", "__").replace(":", "___").replace(".", "_")
    return PREFIX + spelled.upper()


def _of_variable(name: str, value: str) -> Credentials:
    username, colon, password = value.partition(":")
    if not colon or not username or not password:
        raise UsageError(f"{name} is malformed", hint="expected USER:PASSWORD, or <token>:TOKEN")
    return Credentials(identity_token=password) if username == TOKEN_USER else Credentials(username, password)
