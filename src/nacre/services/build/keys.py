"""Cache keys: for each step a frozen record of exactly what its result depends on, and its digest.

    parent = digest of the layers so far, so a step that is done again with an equal result
             leaves the keys of all later steps as they were
    key    = SHA-256 over the record as JSON

Times of copied files are no part of a key (docker's rule), owners and modes are.
"""

from __future__ import annotations

from ...words.digest import Digest, sha256
from ...words.quickjson import dumps, loads
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_VERSION = 2


class Key(Value):
    """Base: the layers beneath, the platform and the latest time a file may bear (None: no limit)."""

    parent: str
    platform: str
    clamp: int | None

    @property
    def inputs(self) -> str:
        """The record as JSON, to be kept beside the result."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in sorted(self._fields)}
        return dumps([_VERSION, type(self).__name__, fields])

    @property
    def elsewhere(self) -> str:
        """The record without what is beneath: the same for the same step on other layers."""
        return apart(self.inputs)

    @property
    def digest(self) -> str:
        """The key itself, 64 hexadecimal digits."""
        return sha256(self.inputs.encode()).hexdigest()


class RunKey(Key):
    """RUN. `scripts` are here-documents seen as files."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    user: str
    workdir: str
    network: str
    mounts: tuple[str, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    hosts: tuple[str, ...] = ()


class CopyKey(Key):
    """COPY and ADD. `content` is the digest of all that was selected, names included."""

    content: str
    destination: str
    chown: str
    mode: str
    unpack: bool
    link: bool = False
    texts: tuple[tuple[str, str], ...] = ()


class DownloadKey(CopyKey):
    """ADD with a URL: `unpacks` says for each source whether an archive is unpacked."""

    unpacks: tuple[bool, ...] = ()


class StageCopyKey(Key):
    """COPY --from, known by the layers it copies from, before their files are looked at."""

    layers: str
    destination: str
    chown: str
    mode: str
    unpack: bool
    link: bool
    words: tuple[str, ...]
    texts: tuple[tuple[str, str], ...]

    @property
    def elsewhere(self) -> str:
        """Nothing: when it is not found, the files themselves are asked."""
        return ""


class WorkdirKey(Key):
    """Inputs of a WORKDIR step."""

    path: str
    user: str


def fields_of(inputs: str) -> tuple[str, dict[str, Any]]:
    """The kind and the fields of a record; ("", {}) for one of another version, or malformed."""
    try:
        version, kind, fields = loads(inputs)
        return (kind, dict(fields)) if version == _VERSION else ("", {})
    except (ValueError, TypeError):
        return "", {}


def apart(inputs: str) -> str:
    """`Key.elsewhere` of a record; "" for one that is malformed."""
    try:
        version, kind, fields = loads(inputs)
        return dumps([version, kind, dict(sorted({**fields, "parent": ""}.items()))])
    except (ValueError, TypeError):
        return ""


def layers_id(diff_ids: Sequence[Digest]) -> str:
    """What a stack of layers is, as a parent."""
    return sha256(" ".join(diff_ids).encode()).hexdigest()
