"""What --security-opt says, in docker's words. Source: docker/cli opts.go, moby daemon/daemon_unix.go."""

from __future__ import annotations

import os

from ..images.model.runtime import Security
from ..words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KNOWN = (
    "seccomp=builtin|unconfined|FILE", "no-new-privileges[=true|false]", "systempaths=unconfined",
    "writable-cgroups[=true|false]", "apparmor=unconfined|PROFILE", "label=disable",
)  # fmt: skip
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_BARE = ("no-new-privileges", "writable-cgroups")
_CHUNK = (1 << 20) + 1
_LONGEST_NAME = 4096


def read_options(options: tuple[str, ...]) -> Security:
    """All of them, the last of a kind counts. Raises UsageError, Unsupported."""
    found = Security()
    for option in options:
        name, value = _split(option)
        fields = _READERS[name](value, option)
        written = fields.pop("written", option)
        found = found.replace(**fields, written=(*found.written, *([written] if written else [])))
    return found


def _split(option: str) -> tuple[str, str]:
    """Name and value; docker's older form has a colon between them."""
    name, equals, value = option.partition("=")
    if not equals:
        name, equals, value = option.partition(":")
    if name not in _READERS:
        raise UsageError(f"invalid --security-opt: {option!r}", hint=f"known are {', '.join(_KNOWN)}")
    if not value and (equals or name not in _BARE):
        raise UsageError(f"invalid --security-opt: {option!r}: a value is missing")
    return name, value


def _seccomp(value: str, option: str) -> dict[str, Any]:
    if value in ("builtin", "unconfined"):
        return {"seccomp": value, "profile": None, "written": f"seccomp={value}"}
    from ..grammars.seccomp import read_profile

    profile = read_profile(_content(value), value)
    return {"seccomp": "profile", "profile": profile, "written": f"seccomp={profile.text}"}


def _content(path: str) -> bytes:
    """A regular file, no more of it than the grammar will look at."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as stream:
            return stream.read(_CHUNK) or b""
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the seccomp profile {path!r}: {why}") from None


def _no_new_privileges(value: str, option: str) -> dict[str, Any]:
    return {"no_new_privileges": _truth(value, option)}


def _writable_cgroups(value: str, option: str) -> dict[str, Any]:
    return {"writable_cgroups": _truth(value, option)}


def _truth(value: str, option: str) -> bool:
    if value and value not in _TRUE + _FALSE:
        raise UsageError(f"invalid --security-opt: {option!r}: {value!r} is neither true nor false")
    return not value or value in _TRUE


def _system_paths(value: str, option: str) -> dict[str, Any]:
    """docker shows it as empty lists of paths and not among the options."""
    if value != "unconfined":
        raise UsageError(f"invalid --security-opt: {option!r}", hint="systempaths=unconfined")
    return {"unconfined_paths": True, "written": ""}


def _apparmor(value: str, option: str) -> dict[str, Any]:
    from ..ground.sandbox import apparmor

    if any(not char.isprintable() for char in value) or len(value) > _LONGEST_NAME:
        raise UsageError(f"invalid --security-opt: {option!r} names no AppArmor profile")
    if apparmor.is_enabled():
        return {"apparmor": value}
    if value != "unconfined":
        raise Unsupported(f"the AppArmor profile {value} cannot be applied: this system has no AppArmor")
    return {}


def _label(value: str, option: str) -> dict[str, Any]:
    """Without SELinux, or with labels off, there is nothing to disable."""
    if value == "disable":
        return {}
    kind, _, name = value.partition(":")
    if kind not in ("user", "role", "type", "level", "filetype", "nested") or (not name and kind != "nested"):
        raise UsageError(f"invalid --security-opt: {option!r}", hint="label=disable")
    raise Unsupported(
        f"the label {value!r} cannot be applied: SELinux labels are not supported", hint="label=disable"
    )


_READERS = {
    "seccomp": _seccomp, "no-new-privileges": _no_new_privileges, "writable-cgroups": _writable_cgroups,
    "systempaths": _system_paths, "apparmor": _apparmor, "label": _label,
}  # fmt: skip
