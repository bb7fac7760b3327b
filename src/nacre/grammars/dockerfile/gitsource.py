"""A git repository as a source of ADD.

    source   = ( http(s)://…/NAME.git / git://… / ssh://… / user@host:path ) [ "?" query ] [ "#" fragment ]
    fragment = [ ref ] [ ":" folder ]
    query    = field *( "&" field )      ref / tag / branch / subdir / checksum (commit) / keep-git-dir /
                                         submodules

Sources: Dockerfile reference, "ADD"; BuildKit's dfgitutil. A URL is one only if its path ends in
.git; `git@host:path` is what ssh takes.
"""

from __future__ import annotations

import posixpath

from ...words.errors import UsageError
from ...words.value import Value

_TEXTS = ("ref", "tag", "branch", "subdir", "checksum", "commit")
_FLAGS = {"keep-git-dir": "keep", "submodules": "submodules"}
_BOOL = {"": True, "1": True, "true": True, "0": False, "false": False}
_HEX = frozenset("0123456789abcdef")


class GitSource(Value):
    """`remote` is what git takes. `ref` "" is the default branch, `folder` "" the whole tree.

    `checksum` is the beginning of a commit's name; `keep` None where nothing is said of .git.
    """

    remote: str
    ref: str = ""
    folder: str = ""
    checksum: str = ""
    keep: bool | None = None
    submodules: bool = True


def is_git(source: str) -> bool:
    """Whether a source is a repository, and no file."""
    path = source.partition("#")[0].partition("?")[0]
    if source.startswith(("git://", "ssh://")):
        return True
    if source.startswith(("http://", "https://")):
        return path.endswith(".git")
    user, at, rest = path.partition("@")
    host, colon, _ = rest.partition(":")
    return bool(at and colon and user and host) and "/" not in user + host


def read_git(source: str) -> GitSource:
    """Read a source for which `is_git` holds. Raises UsageError."""
    head, _, fragment = source.partition("#")
    from urllib.parse import parse_qsl

    remote, _, query = head.partition("?")
    if remote.startswith("-"):
        raise UsageError(f"invalid git source {source[:200]!r}")
    ref, _, folder = fragment.partition(":")
    fields = {"ref": ref, "subdir": folder}
    flags: dict[str, bool] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in _FLAGS:
            flags[_FLAGS[key]] = _flag(key, value)
        else:
            _note(fields, key, value)
    return GitSource(
        remote, fields["ref"], posixpath.normpath("/" + fields["subdir"]).lstrip("/"),
        checksum_of(fields.get("checksum", "")), flags.get("keep"), flags.get("submodules", True),
    )  # fmt: skip


def within(source: str, folder: str) -> str:
    """The same source with a folder of what it means; no `..` leads out of the repository.

    Source: buildx, bake.remoteURLWithSubdir.
    """
    head, _, fragment = source.partition("#")
    ref, _, outer = fragment.partition(":")
    inner = posixpath.normpath(f"/{outer}/{folder}").lstrip("/")
    return f"{head}#{ref}:{inner}" if inner else source


def _flag(key: str, value: str) -> bool:
    if value.lower() not in _BOOL:
        raise UsageError(f"invalid {key} value: {value[:80]!r}")
    return _BOOL[value.lower()]


def _note(fields: dict[str, str], key: str, value: str) -> None:
    if key not in _TEXTS or not value:
        raise UsageError(f"query {key!r} has no value" if key in _TEXTS else f"unexpected query {key[:80]!r}")
    name = {"tag": "ref", "branch": "ref", "commit": "checksum"}.get(key, key)
    if key in ("tag", "branch"):
        value = f"refs/{'tags' if key == 'tag' else 'heads'}/{value}"
    if fields.get(name) and fields[name] != value:
        raise UsageError(f"{name} conflicts: {fields[name][:80]!r} vs {value[:80]!r}")
    fields[name] = value


def checksum_of(text: str) -> str:
    """The beginning of a commit's name, in lower case. Raises UsageError."""
    if not _HEX.issuperset(text.lower()) or len(text) > 64:
        raise UsageError(f"invalid checksum {text[:80]!r}: expected hexadecimal digits of a commit")
    return text.lower()
