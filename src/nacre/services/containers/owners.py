"""The owners of files in a running container that has a user namespace of its own, seen from outside."""

from __future__ import annotations

from ...ground.linux import own_files_as
from ...ground.userns import inside
from ...words.errors import UsageError
from ...words.quickjson import loads
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Entry
    from ...ground.userns import Range
    from ...stores.containers import ContainerRow


class OwnerMapping(Value):
    """The ids of a container: first inside, first outside, count."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    def seen(self, entry: Entry) -> Entry:
        """An entry of the container as its programs see it."""
        return entry._replace(uid=inside(self.uids, entry.uid), gid=inside(self.gids, entry.gid))

    def given(self, entry: Entry) -> Entry:
        """An entry for the container as it is outside. Raises UsageError for owners that it has not."""
        return entry._replace(uid=_outside(self.uids, entry.uid), gid=_outside(self.gids, entry.gid))

    def own_files(self) -> None:
        """From now on this process makes files as the root of the container: no other can be mapped."""
        own_files_as(_outside(self.uids, 0), _outside(self.gids, 0))


def _outside(ranges: tuple[Range, ...], number: int) -> int:
    for first, outside, count in ranges:
        if first <= number < first + count:
            return outside + number - first
    raise UsageError(f"user {number} does not exist in the user namespace of the container")


def has_own_users(row: ContainerRow) -> bool:
    """Whether it has a user namespace of its own, that its mounts do not belong to."""
    return bool(loads(row.config_json)["config"]["linux"].get("uidMappings"))


def owners_of(row: ContainerRow) -> OwnerMapping | None:
    """None where they are those of this machine."""
    linux = loads(row.config_json)["config"]["linux"]
    if not linux.get("uidMappings"):
        return None
    uids, gids = (
        tuple((each["containerID"], each["hostID"], each["size"]) for each in linux[key])
        for key in ("uidMappings", "gidMappings")
    )
    return OwnerMapping(uids, gids) if uids[0][1] else None
