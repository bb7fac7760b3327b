"""Specs of the Container Device Interface: what a container needs to use a device of a vendor.

    device = VENDOR "/" CLASS "=" NAME            vendor.com/gpu=0

Read strictly: what is not understood is an error, because a device would work by half. Source: CNCF
container-device-interface SPEC.md 1.1.0, schema and pkg/parser.
"""

from __future__ import annotations

import json
from typing import Any

from ..words.errors import InvalidDocument, Unsupported
from ..words.value import Value

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_ALNUM = _LETTERS | frozenset("0123456789")
_VERSIONS = ("0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0")
_MOUNT_OPTIONS = frozenset(
    ("ro", "rw", "bind", "rbind", "nosuid", "nodev", "noexec", "suid", "dev", "exec", "private", "rprivate")
)
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_DEEPEST_ID = (1 << 32) - 2


class CdiNode(Value):
    """A device node; `kind` "" and -1 are as the node at `source` has them."""

    path: str
    source: str
    kind: str = ""
    major: int = -1
    minor: int = -1
    mode: int = -1
    access: str = "rwm"
    uid: int = -1
    gid: int = -1


class CdiMount(Value):
    """A path of this machine in the container, with options of mount(8)."""

    source: str
    target: str
    options: tuple[str, ...] = ()


class CdiHook(Value):
    """A program that an OCI runtime runs at the moment `name`, as the runtime-spec has it."""

    name: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int = 0


class CdiEdits(Value):
    """What is done to a container."""

    env: tuple[str, ...] = ()
    nodes: tuple[CdiNode, ...] = ()
    mounts: tuple[CdiMount, ...] = ()
    hooks: tuple[CdiHook, ...] = ()
    groups: tuple[int, ...] = ()


class CdiSpec(Value):
    """A file: devices by name, and the edits that all of them need."""

    kind: str
    devices: tuple[tuple[str, CdiEdits], ...]
    edits: CdiEdits


def is_qualified(text: str) -> bool:
    """Whether it names a device of this kind, and no path."""
    kind, equals, name = text.partition("=")
    return bool(equals) and _is_kind(kind) and _is_word(name, "_-.:", _ALNUM)


def _is_kind(text: str) -> bool:
    vendor, slash, name = text.partition("/")
    return bool(slash) and _is_word(vendor, "_-.", _LETTERS) and _is_word(name, "_-", _LETTERS)


def _is_word(text: str, between: str, first: frozenset[str]) -> bool:
    return bool(text) and text[0] in first and text[-1] in _ALNUM and set(text) <= _ALNUM | set(between)


def parse_spec(data: bytes, path: str) -> CdiSpec:
    """The spec in a file of JSON, or of YAML by its name. Raises InvalidDocument, which names `path` and the
    field; for YAML Unsupported where PyYAML is not installed.
    """
    if path.endswith((".yaml", ".yml")):
        return _SpecReader(path).spec(_yaml(data, path))
    try:
        document = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{path}: not valid JSON: {error}") from None
    return _SpecReader(path).spec(document)


def _yaml(data: bytes, path: str) -> Any:
    """What a file of YAML says, without aliases: a few of them make a document of any size."""
    try:
        yaml: Any = __import__("yaml")
    except ImportError:
        raise Unsupported(
            f"{path} is YAML, which needs PyYAML: write the spec as JSON, or install nacre[yaml]"
        ) from None

    class _Strict(yaml.SafeLoader):  # type: ignore[misc]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("an alias is not allowed here")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            return _once(
                [
                    (str(self.construct_object(key, deep=True)), self.construct_object(value, deep=True))
                    for key, value in node.value
                ]
            )

    _Strict.add_constructor("tag:yaml.org,2002:map", _Strict.construct_mapping)
    try:
        return yaml.load(data, _Strict)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise InvalidDocument(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


class _SpecReader:
    def __init__(self, path: str) -> None:
        self._path = path

    def spec(self, document: object) -> CdiSpec:
        known = self._object(
            document, "", ("cdiVersion", "kind", "devices"), ("annotations", "containerEdits")
        )
        if known["cdiVersion"] not in _VERSIONS:
            raise self._wrong("cdiVersion", f"version {known['cdiVersion']!r} is not known")
        kind = self._text(known["kind"], "kind")
        if not _is_kind(kind):
            raise self._wrong("kind", "expected VENDOR/CLASS")
        devices = [self._device(one, f"devices[{n}]") for n, one in enumerate(self._list(known, "devices"))]
        if not devices:
            raise self._wrong("devices", "there are none")
        if len(dict(devices)) != len(devices):
            raise self._wrong("devices", "a name stands twice")
        return CdiSpec(kind, tuple(devices), self._edits(known.get("containerEdits", {}), "containerEdits"))

    def _device(self, found: object, place: str) -> tuple[str, CdiEdits]:
        known = self._object(found, place, ("name", "containerEdits"), ("annotations",))
        name = self._text(known["name"], f"{place}.name")
        if not _is_word(name, "_-.:", _ALNUM):
            raise self._wrong(f"{place}.name", f"{name!r} is no name of a device")
        return name, self._edits(known["containerEdits"], f"{place}.containerEdits")

    def _edits(self, found: object, place: str) -> CdiEdits:
        lists = ("env", "deviceNodes", "mounts", "hooks", "additionalGids", "netDevices")
        known = self._object(found, place, (), (*lists, "intelRdt"))
        for name in ("netDevices", "intelRdt"):
            if known.get(name):
                raise self._wrong(f"{place}.{name}", "this is not supported")

        def items(name: str) -> list[tuple[Any, str]]:
            return [(one, f"{place}.{name}[{n}]") for n, one in enumerate(self._list(known, name, place))]

        return CdiEdits(
            tuple(self._variable(*item) for item in items("env")),
            tuple(self._node(*item) for item in items("deviceNodes")),
            tuple(self._mount(*item) for item in items("mounts")),
            tuple(self._hook(*item) for item in items("hooks")),
            tuple(self._number(*item, _DEEPEST_ID) for item in items("additionalGids")),
        )

    def _variable(self, found: object, place: str) -> str:
        text = self._text(found, place)
        if not text.partition("=")[0] or "=" not in text:
            raise self._wrong(place, "expected NAME=VALUE")
        return text

    def _node(self, found: object, place: str) -> CdiNode:
        more = ("hostPath", "type", "major", "minor", "fileMode", "permissions", "uid", "gid")
        known = self._object(found, place, ("path",), more)
        path = self._absolute(known["path"], f"{place}.path")
        if not path.startswith("/dev/") or ".." in path.split("/"):
            raise self._wrong(f"{place}.path", "expected a path in /dev")
        kind, access = known.get("type", ""), known.get("permissions") or "rwm"
        if kind not in ("", "b", "c", "u"):
            raise self._wrong(f"{place}.type", f"{kind!r} is not b, c or u")
        if not isinstance(access, str) or not set(access) <= set("rwm"):
            raise self._wrong(f"{place}.permissions", "expected letters of rwm")
        numbers = {
            name: self._number(known[key], f"{place}.{key}", most)
            for name, key, most in (
                ("major", "major", 0xFFF), ("minor", "minor", 0xFFFFF), ("mode", "fileMode", 0o7777),
                ("uid", "uid", _DEEPEST_ID), ("gid", "gid", _DEEPEST_ID),
            )
            if known.get(key) is not None
        }  # fmt: skip
        source = self._absolute(known.get("hostPath") or path, f"{place}.hostPath")
        return CdiNode(path, source, "c" if kind == "u" else kind, access=access, **numbers)

    def _mount(self, found: object, place: str) -> CdiMount:
        known = self._object(found, place, ("hostPath", "containerPath"), ("options", "type"))
        if known.get("type", "bind") not in ("", "bind", "none"):
            raise self._wrong(f"{place}.type", f"{known['type']!r} is not supported")
        options = tuple(self._text(one, f"{place}.options") for one in self._list(known, "options", place))
        for option in options:
            if option not in _MOUNT_OPTIONS:
                raise self._wrong(f"{place}.options", f"{option!r} is not supported")
        source, target = (
            self._absolute(known[key], f"{place}.{key}") for key in ("hostPath", "containerPath")
        )
        return CdiMount(source, target, options)

    def _hook(self, found: object, place: str) -> CdiHook:
        known = self._object(found, place, ("hookName", "path"), ("args", "env", "timeout"))
        name = self._text(known["hookName"], f"{place}.hookName")
        if name not in _HOOKS:
            raise self._wrong(f"{place}.hookName", f"{name!r} is no hook")
        args, env = (
            tuple(self._text(one, f"{place}.{key}") for one in self._list(known, key, place))
            for key in ("args", "env")
        )
        seconds = self._number(known.get("timeout") or 0, f"{place}.timeout", 1 << 31)
        return CdiHook(name, self._absolute(known["path"], f"{place}.path"), args, env, seconds)

    # values

    def _wrong(self, place: str, why: str) -> InvalidDocument:
        return InvalidDocument(f"{self._path}: {place + ': ' if place else ''}{why}")

    def _object(
        self, found: object, place: str, needed: tuple[str, ...], more: tuple[str, ...]
    ) -> dict[str, Any]:
        if not isinstance(found, dict):
            raise self._wrong(place, "expected an object")
        for name in needed:
            if name not in found:
                raise self._wrong(place, f"{name} is missing")
        for name in found:
            if name not in (*needed, *more):
                raise self._wrong(place, f"{name} is not known")
        return found

    def _list(self, known: dict[str, Any], name: str, place: str = "") -> list[Any]:
        found = known.get(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._wrong(f"{place}.{name}".lstrip("."), "expected a list")
        return found

    def _text(self, found: object, place: str) -> str:
        if not isinstance(found, str) or "\0" in found or not found:
            raise self._wrong(place, "expected a text")
        return found

    def _absolute(self, found: object, place: str) -> str:
        text = self._text(found, place)
        if not text.startswith("/"):
            raise self._wrong(place, "expected an absolute path")
        return text

    def _number(self, found: object, place: str, most: int) -> int:
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
            raise self._wrong(place, f"expected a number up to {most}")
        return found
