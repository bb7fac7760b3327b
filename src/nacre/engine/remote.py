"""A registry that is served elsewhere, administered over its management API."""

from __future__ import annotations

from ..words.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..services.client import Client
    from ..stores.backup import BackupReport
    from ..words.progress import Progress
    from .remoteaccount import RemoteAccount
    from .remoteaccounts import RemoteAccounts
    from .remoteapi import RegistryApi
    from .remotecontent import RemoteContent
    from .remotereplication import RemoteReplication


class ManagedRegistry:
    """That at `url`; its rights are those that the user has there. Raises UsageError, Unsupported."""

    def __init__(self, client: Client, url: str) -> None:
        self._api = _api(client, url)

    @property
    def accounts(self) -> RemoteAccounts:
        """People, teams, rights and tokens."""
        from .remoteaccounts import RemoteAccounts

        return RemoteAccounts(self._api)

    @property
    def account(self) -> RemoteAccount:
        """That of the login."""
        from .remoteaccount import RemoteAccount

        return RemoteAccount(self._api)

    @property
    def content(self) -> RemoteContent:
        """What it holds and can restore, and its upkeep."""
        from .remotecontent import RemoteContent

        return RemoteContent(self._api)

    @property
    def replication(self) -> RemoteReplication:
        """What replicates of it."""
        from .remotereplication import RemoteReplication

        return RemoteReplication(self._api)

    def backup(self, directory: str, *, read: bool = False, progress: Progress | None = None) -> BackupReport:
        """Bring the backup in `directory` up to what the registry holds now, as `registries.backup` does.

        Only what is not there yet is fetched. Raises as `RegistryApi.ask`, and Conflict, StoreError; the
        earlier backup is whole then.
        """
        from ..stores.backup import RegistryBackup
        from .remotebackup import RemoteBackupSource

        return RegistryBackup(RemoteBackupSource(self._api), directory, read=read, progress=progress).run()


def _api(client: Client, url: str) -> RegistryApi:
    try:
        from .remoteapi import RegistryApi
    except ModuleNotFoundError as error:
        needs = f"the management API of a registry needs {error.name}"
        raise Unsupported(needs, hint="pip install nacre-oci[registry]") from None
    return RegistryApi(client, url)
