"""Why a container could not be started: the file `error` beside its other files, until it runs."""

from __future__ import annotations

from ...ground.files import write_atomic
from ...words.errors import StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from ...words.errors import NacreError

FILE = "error"
_MOST = 4096


def note(store: Store, row: ContainerRow, error: NacreError) -> None:
    """Keep what went wrong; that it cannot be written is not what went wrong."""
    try:
        write_atomic(store.containers.file(row.id, FILE), error.message.encode(errors="replace")[:_MOST])
    except (OSError, StoreError):
        return


def read(store: Store, row: ContainerRow) -> str:
    """What docker shows as State.Error; "" when its last start went well."""
    try:
        with open(store.containers.file(row.id, FILE), "rb") as file:
            return file.read(_MOST).decode(errors="replace")
    except OSError:
        return ""
