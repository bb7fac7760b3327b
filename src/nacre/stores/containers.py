"""The table of containers."""

from __future__ import annotations

from ..words.value import Value


class ContainerRow(Value):
    """One container. Times are seconds since 1970, 0 if it has not happened.

    `id` 64 hex digits; `image` digest of the manifest; `image_ref` as the user gave it;
    `state` created, running, exited, dead; `pid_start` field 22 of /proc/PID/stat, which with `boot`
    tells a recycled pid; `config_json` whatever the service needs to start it again.
    The key of its active is its id, and its folder is ROOT/containers/<id>.
    """

    id: str
    name: str
    image: str
    image_ref: str
    created: float
    state: str = "created"
    pid: int = 0
    pid_start: int = 0
    exit_code: int = 0
    started: float = 0.0
    finished: float = 0.0
    command: str = ""
    config_json: str = "{}"
    auto_remove: bool = False
    boot: str = ""


class ContainerStore:
    """Rows by id and name. Insert the row *before* making the active or the folder: it keeps them."""

    def insert(self, row: ContainerRow) -> None:
        """Raises Conflict when the name or the id is taken (docker's words)."""
        raise NotImplementedError

    def update(self, id: str, **changes: object) -> None:
        """Change some fields. Raises NotFound."""
        raise NotImplementedError

    def get(self, text: str) -> ContainerRow:
        """By full name, full id or unique id prefix. Raises NotFound, Conflict when ambiguous."""
        raise NotImplementedError

    def list(self, *, all: bool = True) -> list[ContainerRow]:
        """The newest first; `all` False: only running ones (by their recorded state)."""
        raise NotImplementedError

    def of_image(self, digest: str) -> list[ContainerRow]:
        """Containers made from this manifest."""
        raise NotImplementedError

    def delete(self, id: str) -> bool:
        """Drop the row; discard the active and remove the folder first."""
        raise NotImplementedError

    def folder(self, id: str) -> str:
        """ROOT/containers/<id>, not made."""
        raise NotImplementedError
