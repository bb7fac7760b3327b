"""What the builds of bake files may do beyond their folder, which somebody has to allow by name.

A bake file that comes with a repository must not read a key in the home folder, nor use the network of
this machine, because somebody builds what is in it. Source: buildx, bake/entitlements.go.
"""

from __future__ import annotations

import os

from ..grammars.bake.attributes import TYPES
from ..grammars.bake.plan import is_folder
from ..words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

NAMES = {
    "network.host": "the network of this machine", "security.insecure": "a sandbox with all capabilities",
    "ssh": "the SSH agent",
}  # fmt: skip
_FOLDERS = ("fs", "fs.read", "fs.write")
_ACCESS = {"fs.read": "read access to", "fs.write": "write access to"}
_PATHS = {"cache-from": ("fs.read", "src"), "cache-to": ("fs.write", "dest"), "output": ("fs.write", "dest"),
          "secrets": ("fs.read", "src"), "secret": ("fs.read", "src")}  # fmt: skip


class Privileges:
    """Those that are allowed, by `--allow` and by what `--set` says itself. Raises UsageError."""

    def __init__(
        self, allowed: Sequence[str], overrides: Sequence[str] = (), *, any_path: bool = False
    ) -> None:
        self._names: set[str] = set()
        self._any_path = any_path
        self._folders: dict[str, list[str]] = {"fs.read": [os.getcwd()], "fs.write": [os.getcwd()]}
        for text in allowed:
            self._allow(text)
        for text in overrides:
            self._allow_override(text)

    def _allow(self, text: str) -> None:
        name, _, path = text.partition("=")
        if name in _FOLDERS:
            for kind in self._folders:
                if name in ("fs", kind):
                    self._folders[kind].append("/" if path == "*" else path)
        elif name in NAMES and not path:
            self._names.add(name)
        else:
            raise UsageError(
                f"unknown entitlement {text!r}",
                hint=f"use {', '.join((*NAMES, 'fs=PATH'))}, fs.read or fs.write",
            )

    def _allow_override(self, text: str) -> None:
        key, _, value = text.partition("=")
        name = key.partition(".")[2]
        if name in _PATHS:
            kind, field = _PATHS[name]
            entries = TYPES["secret" if name == "secrets" else name]([value])
            self._folders[kind] += [entry[field] for entry in entries if field in entry]
        elif name == "entitlements":
            self._names.add(value)
        elif name == "ssh":
            self._names.add("ssh")

    def check(self, targets: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise Unsupported, with the flags that allow it, if a target wants more."""
        wanted = dict.fromkeys(need for fields in targets.values() for need in _needs(fields))
        missing = [need for need in wanted if not self._has(*need)]
        if missing:
            said = ", ".join(
                f"{_ACCESS[kind]} {path}" if path else NAMES.get(kind, kind) for kind, path in missing
            )
            flags = " ".join(
                f"--allow={kind}={path}" if path else f"--allow={kind}" for kind, path in missing
            )
            raise Unsupported(f"additional privileges requested: {said}", hint=f"pass {flags}")

    def _has(self, kind: str, path: str) -> bool:
        if not path:
            return kind in self._names
        real = os.path.realpath(path)
        roots = map(os.path.realpath, self._folders[kind])
        return self._any_path or any(_is_below(real, root) for root in roots)


def _is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder, or lies in it; both are absolute."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _distant_dockerfile(fields: Mapping[str, Any]) -> str:
    """The Dockerfile of a target where it is of this machine and not in the context; else ""."""
    context, written = fields["context"], fields["dockerfile"]
    if is_folder(context):
        path = os.path.join(context, written)
        return "" if _is_below(os.path.abspath(path), os.path.abspath(context)) else path
    here = written.removeprefix("cwd://")
    return here if here != written or os.path.isabs(here) else ""


def _needs(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a target wants: a name, or the kind of access and a path."""
    for name in fields.get("entitlements", ()):
        yield name, ""
    for source in (fields["context"], *fields.get("contexts", {}).values()):
        if is_folder(source):
            yield "fs.read", source
    if "dockerfile-inline" not in fields and (path := _distant_dockerfile(fields)):
        yield "fs.read", path
    for entry in fields.get("ssh", ()):
        yield ("fs.read", entry["paths"]) if "paths" in entry else ("ssh", "")
    for name, (kind, field) in _PATHS.items():
        yield from (
            (kind, entry[field]) for entry in fields.get(name, ()) if field in entry and entry[field] != "-"
        )
