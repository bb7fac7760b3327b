"""Cache keys: for each step a frozen record of exactly what its result depends on, and its digest.

    parent = digest of the layers so far, so a step that is done again with an equal result
             leaves the keys of all later steps as they were
    key    = SHA-256 over the record as JSON

Times of copied files are no part of a key (docker's rule), owners and modes are.
"""

from __future__ import annotations

import hashlib
import json

from ...words.digest import Digest
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
        fields: dict[str, Any] = {name: getattr(self, name) for name in self._fields}
        kind = type(self).__name__
        return json.dumps([_VERSION, kind, fields], separators=(",", ":"), ensure_ascii=False, sort_keys=True)

    @property
    def elsewhere(self) -> str:
        """The record without what is beneath: the same for the same step on other layers."""
        return apart(self.inputs)

    @property
    def digest(self) -> str:
        """The key itself, 64 hexadecimal digits."""
        return hashlib.sha256(self.inputs.encode("utf-8", "surrogateescape")).hexdigest()

    def changes(self, inputs: str) -> str:
        """In words, what differs from the record of another key; "" when that was another instruction."""
        try:
            version, kind, fields = json.loads(inputs)
            if (version, kind) != (_VERSION, type(self).__name__):
                return ""
            return self._changes(fields)
        except (ValueError, TypeError, KeyError):
            return ""

    def _changes(self, fields: dict[str, Any]) -> str:
        """`changes` for a record of the same kind. May raise for one that is malformed."""
        return ""


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

    def _changes(self, fields: dict[str, Any]) -> str:
        if tuple(fields["argv"]) != self.argv:
            return ""
        before, now = dict(fields["env"]), dict(self.env)
        names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        plain = ("user", "workdir", "network", "mounts", "hosts")
        others = [name for name in plain if _differs(self, fields, name)]
        return ", ".join([*(f"variable {name} changed" for name in names), *(f"{o} changed" for o in others)])


class CopyKey(Key):
    """COPY and ADD. `content` is the digest of all that was selected, names included."""

    content: str
    destination: str
    chown: str
    mode: str
    unpack: bool
    link: bool = False
    texts: tuple[tuple[str, str], ...] = ()

    def _changes(self, fields: dict[str, Any]) -> str:
        names = ("destination", "chown", "mode", "unpack", "link")
        if any(_differs(self, fields, name) for name in names):
            return ""
        return "the files changed" if fields["content"] != self.content else ""


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


def _differs(key: Key, fields: dict[str, Any], name: str) -> bool:
    """Whether a field is another one; JSON has lists where keys have tuples."""
    value = getattr(key, name)
    return bool(fields[name] != (list(value) if isinstance(value, tuple) else value))


def apart(inputs: str) -> str:
    """`Key.elsewhere` of a record; "" for one that is malformed."""
    try:
        version, kind, fields = json.loads(inputs)
        return json.dumps([version, kind, {**fields, "parent": ""}], sort_keys=True)
    except (ValueError, TypeError):
        return ""


def layers_id(diff_ids: Sequence[Digest]) -> str:
    """What a stack of layers is, as a parent."""
    return hashlib.sha256(" ".join(diff_ids).encode()).hexdigest()
