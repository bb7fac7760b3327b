"""docker's profiles for system calls: read whole, and reduced to what holds for one container.

    profile   = { defaultAction, [ defaultErrnoRet ], [ architectures / archMap ], [ flags ], syscalls }
    archMap   = [ { architecture, [ subArchitectures ] } ]
    syscalls  = [ { names / name, action, [ errnoRet ], [ args ], [ includes ], [ excludes ], [ comment ] } ]
    args      = [ { index, value, [ valueTwo ], op } ]
    includes, excludes = { [ caps ], [ arches ], [ minKernel ] }

podman's `defaultErrno` and `errno`, which name errors, are read as well. What is misspelt is an error.
Source: moby/profiles seccomp/seccomp.go, OCI runtime-spec config-linux.md "Seccomp".
"""

from __future__ import annotations

import errno

from ..words import quickjson
from ..words.errors import UsageError
from ..words.value import Value
from .jsonnode import JsonNode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

LARGEST = 1 << 20
"""Bytes that a profile may have. docker's own has 20,000."""

_WHAT = "the seccomp profile "
_MOST_NAMES = 4096
ACTIONS = ("KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP", "ERRNO", "LOG", "ALLOW")
_FOREIGN = {
    "SCMP_ACT_TRACE": "needs a tracer, and there is none",
    "SCMP_ACT_NOTIFY": "needs a program that answers, and there is none",
}
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC")
"""With `ACTIONS` and `OPERATORS` what a list may say."""

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "loongarch64": "loong64"}
_NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
}  # fmt: skip
_TOP = (
    "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags", "syscalls",
    "listenerPath", "listenerMetadata",
)  # fmt: skip
_RULE = (
    "names",
    "name",
    "action",
    "errnoRet",
    "errno",
    "args",
    "includes",
    "excludes",
    "comment",
    "priority",
)


class Filter(Value):
    """For which containers a rule holds: capabilities, processors, the oldest kernel. Empty is for all."""

    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    kernel: tuple[int, int] | None = None


class Rule(Value):
    """An entry of `syscalls`: its words in the runtime-spec as JSON, and for whom it holds."""

    spec: str
    includes: Filter
    excludes: Filter

    def holds(self, caps: Collection[str], arch: str, kernel: tuple[int, int]) -> bool:
        """Whether it is part of the list. Source: moby/profiles, setupSeccomp."""
        no, yes = self.excludes, self.includes
        if arch in no.arches or any(name in caps for name in no.caps) or (no.kernel and kernel >= no.kernel):
            return False
        if (yes.arches and arch not in yes.arches) or (yes.kernel and kernel < yes.kernel):
            return False
        return all(name in caps for name in yes.caps)


class Profile(Value):
    """A profile that was read from `file`; `text` is it again, without blanks."""

    file: str
    text: str
    head: str
    architectures: tuple[str, ...]
    arch_map: tuple[tuple[str, tuple[str, ...]], ...]
    rules: tuple[Rule, ...]

    def document(self, caps: Collection[str], machine: str, release: str) -> dict[str, Any]:
        """As `linux.seccomp` of the runtime-spec, for a container with `caps`. Raises UsageError."""
        arch, kernel = _ARCHES.get(machine, machine), _kernel(release)
        names = self._architectures(machine)
        if _NATIVE.get(machine, machine) not in names:
            raise UsageError(f"the seccomp profile {self.file} has no list for {machine}")
        rules = [quickjson.loads(rule.spec) for rule in self.rules if rule.holds(caps, arch, kernel)]
        return {**quickjson.loads(self.head), "architectures": names, "syscalls": rules}

    def _architectures(self, machine: str) -> list[str]:
        native = _NATIVE.get(machine, machine)
        if self.architectures:
            return list(self.architectures)
        if self.arch_map:
            return [name for own, others in self.arch_map if own == native for name in (own, *others)]
        return [native]


def _kernel(release: str) -> tuple[int, int]:
    major, minor = (*release.split("."), "0")[:2]
    digits = minor[: len(minor) - len(minor.lstrip("0123456789"))]
    return int(major), int(digits or 0)


def read_profile(data: bytes, file: str) -> Profile:
    """A profile from its bytes. Raises UsageError that names the file and the place in it."""
    import json

    if len(data) > LARGEST:
        raise UsageError(f"the seccomp profile {file} is larger than 1 MiB")
    try:
        value = json.loads(data.decode("utf-8-sig"))
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"the seccomp profile {file} is not JSON: {why}") from None
    return _profile(JsonNode(value, f"{_WHAT}{file}"), text)


def read_list(value: dict[str, Any], machine: str, what: str = "config.json") -> dict[str, Any]:
    """`linux.seccomp` of a runtime config, checked. The processor's own list is always part of it.

    Raises UsageError.
    """
    native = _NATIVE.get(machine, machine)
    names = value.get("architectures")
    if isinstance(names, list) and names and native not in names:
        value = {**value, "architectures": [native, *names]}
    return _profile(JsonNode(value, what, "linux.seccomp"), "").document((), machine, "0.0")


def _profile(top: JsonNode, text: str) -> Profile:
    top.known(_TOP)
    for key in ("listenerPath", "listenerMetadata"):
        if top.get(key):
            raise top.at(key).wrong("is not supported: it needs a program that answers")
    architectures = tuple(each.text() for each in top.at("architectures").items())
    arch_map = tuple(_subarchitectures(each) for each in top.at("archMap").items())
    if architectures and arch_map:
        raise top.at("archMap").wrong("stands beside architectures; use one of them")
    head: dict[str, Any] = {"defaultAction": _action(top.at("defaultAction"))}
    _add_error(head, top, "defaultErrnoRet", "defaultErrno")
    if flags := [each.word(FLAGS) for each in top.at("flags").items()]:
        head["flags"] = flags
    rules = tuple(_rule(each) for each in top.at("syscalls").items())
    return Profile(top.what.removeprefix(_WHAT), text, quickjson.dumps(head), architectures, arch_map, rules)


def _subarchitectures(node: JsonNode) -> tuple[str, tuple[str, ...]]:
    node.known(("architecture", "subArchitectures"))
    others = tuple(each.text() for each in node.at("subArchitectures").items())
    return node.at("architecture").text(), others


def _rule(node: JsonNode) -> Rule:
    node.known(_RULE)
    spec: dict[str, Any] = {"names": list(_names(node)), "action": _action(node.at("action"))}
    _add_error(spec, node, "errnoRet", "errno")
    if args := [_argument(each) for each in node.at("args").items()]:
        spec["args"] = args
    return Rule(quickjson.dumps(spec), _where(node.at("includes")), _where(node.at("excludes")))


def _names(node: JsonNode) -> tuple[str, ...]:
    if node.get("name") and node.get("names"):
        raise node.at("name").wrong("stands beside names; use one of them")
    names = (node.at("name"),) if node.get("name") else tuple(node.at("names").items())
    if not names:
        raise node.at("names").wrong("is missing")
    if len(names) > _MOST_NAMES:
        raise node.at("names").wrong("is too long")
    return tuple(each.text() for each in names)


def _action(node: JsonNode) -> str:
    if str(node.value) in _FOREIGN:
        raise node.wrong(f"is {node.value}, which {_FOREIGN[str(node.value)]}")
    return node.word(tuple(f"SCMP_ACT_{name}" for name in ACTIONS))


def _add_error(spec: dict[str, Any], node: JsonNode, number: str, name: str) -> None:
    """`errnoRet`, in the words of the profile a number or, as podman has it, a name."""
    key = "defaultErrnoRet" if "default" in number else "errnoRet"
    if node.get(number) is not None:
        spec[key] = node.at(number).number(4095)
    elif node.get(name):
        known = {text: value for value, text in errno.errorcode.items()}
        spec[key] = known[node.at(name).word(tuple(known))]


def _argument(node: JsonNode) -> dict[str, Any]:
    node.known(("index", "value", "valueTwo", "op"))
    return {
        "index": node.at("index").number(5),
        "value": node.at("value").number((1 << 64) - 1),
        "valueTwo": node.at("valueTwo").number((1 << 64) - 1) if node.get("valueTwo") is not None else 0,
        "op": node.at("op").word(tuple(f"SCMP_CMP_{name}" for name in OPERATORS)),
    }


def _where(node: JsonNode) -> Filter:
    if node.value is None:
        return Filter()
    node.known(("caps", "arches", "minKernel"))
    caps, arches = (tuple(each.text() for each in node.at(key).items()) for key in ("caps", "arches"))
    return Filter(caps, arches, _least(node.at("minKernel")) if node.get("minKernel") else None)


def _least(node: JsonNode) -> tuple[int, int]:
    major, dot, minor = node.text().partition(".")
    if not dot or not all(part.isascii() and part.isdigit() and len(part) < 5 for part in (major, minor)):
        raise node.wrong(f"is {node.shown()}, not MAJOR.MINOR")
    return int(major), int(minor)
