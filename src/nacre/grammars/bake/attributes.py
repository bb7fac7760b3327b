"""What a target of a bake file may say: each attribute, its type, and how two of them become one.

Source: Bake file reference, "Target"; buildx, bake.Target and Target.Merge.
"""

from __future__ import annotations

from ..csvline import read_record, write_record
from . import values
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

Fields = dict[str, "Any"]
"""Attributes by name, each of its type."""


# types: what a value of an expression is as one


def _texts(value: Any) -> list[str]:
    """Strings without null and ""."""
    if not isinstance(value, list):
        raise BadValue(f"a list of strings is required, not {values.kind(value)}")
    return [values.text(each) for each in value if each not in (None, "")]


def _pairs(value: Any) -> dict[str, str]:
    """Without those that are null."""
    return {name: values.text(each) for name, each in values.mapping(value).items() if each is not None}


def _entries(short: Callable[[list[str]], dict[str, str]]) -> Callable[[Any], list[dict[str, str]]]:
    """Objects, or records of comma-separated fields; `short` reads those without a key."""

    def read(value: Any) -> list[dict[str, str]]:
        if not isinstance(value, list):
            raise BadValue(f"a list is required, not {values.kind(value)}")
        return [_pairs(each) if isinstance(each, dict) else short(read_record(values.text(each)))
                for each in value if each not in (None, "")]  # fmt: skip

    return read


def _keyed(words: list[str]) -> dict[str, str]:
    fields = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadValue(f"invalid value {word[:40]!r}: expected NAME=VALUE")
        fields[name.strip().lower()] = value
    return fields


def _output(words: list[str]) -> dict[str, str]:
    if len(words) == 1 and "=" not in words[0]:
        return {"type": "tar" if words[0] == "-" else "local", "dest": words[0]}
    return _keyed(words)


def _cache(words: list[str]) -> dict[str, str]:
    if len(words) == 1 and "=" not in words[0]:
        return {"type": "registry", "ref": words[0]}
    return _keyed(words)


def _secret(words: list[str]) -> dict[str, str]:
    fields = _keyed(words)
    return {"src" if name == "source" else name: value for name, value in fields.items()}


def _agent(words: list[str]) -> dict[str, str]:
    """`ID`, or `ID=PATH` and further paths."""
    name, _, path = words[0].partition("=")
    paths = ",".join(filter(None, [path, *words[1:]]))
    return {"id": name, "paths": paths} if paths else {"id": name}


TYPES: Mapping[str, Callable[[Any], Any]] = {
    "description": values.text,
    "inherits": _texts,
    "annotations": _texts,
    "attest": _entries(_keyed),
    "context": values.text,
    "contexts": _pairs,
    "dockerfile": values.text,
    "dockerfile-inline": values.text,
    "args": _pairs,
    "labels": _pairs,
    "tags": _texts,
    "cache-from": _entries(_cache),
    "cache-to": _entries(_cache),
    "target": values.text,
    "secret": _entries(_secret),
    "ssh": _entries(_agent),
    "platforms": _texts,
    "output": _entries(_output),
    "pull": values.truth,
    "no-cache": values.truth,
    "network": values.text,
    "no-cache-filter": _texts,
    "shm-size": values.text,
    "ulimits": _texts,
    "call": values.text,
    "entitlements": _texts,
    "extra-hosts": _pairs,
}
"""In the order in which they are printed."""

_ADDED = (
    "annotations",
    "secret",
    "ssh",
    "cache-from",
    "no-cache-filter",
    "ulimits",
    "entitlements",
    "inherits",
)
UPDATED = ("args", "contexts", "labels", "extra-hosts")


def merged(one: Fields, other: Fields) -> Fields:
    """Both: what the second says counts, or comes to the first, by attribute."""
    found = dict(one)
    for name, value in other.items():
        if name in UPDATED:
            found[name] = dict(found.get(name, {})) | value
        elif name in _ADDED:
            found[name] = [*found.get(name, []), *value]
        elif name == "attest":
            found[name] = _attestations(found.get(name, []), value)
        else:
            found[name] = value
    return found


def _attestations(one: list[dict[str, str]], other: list[dict[str, str]]) -> list[dict[str, str]]:
    """One of each type: the last."""
    return list({entry.get("type", ""): entry for entry in (*one, *other)}.values())


def normal(fields: Fields) -> Fields:
    """Each element once, contexts that are not empty, and the entitlement that `network` needs."""
    found: Fields = {name: _once(each) if isinstance(each, list) else each for name, each in fields.items()}
    if found.get("network") == "host":
        found["entitlements"] = _once([*found.get("entitlements", []), "network.host"])
    if "contexts" in found:
        contexts: dict[str, str] = found["contexts"]
        found["contexts"] = {name: source for name, source in contexts.items() if source}
    return {name: value for name, value in found.items() if value not in ([], {})}


def _once(elements: list[Any]) -> list[Any]:
    return [each for at, each in enumerate(elements) if each not in elements[:at]]


def record(entry: Mapping[str, str]) -> str:
    """An entry as a command line has it."""
    if "paths" in entry or set(entry) == {"id"}:
        paths = entry.get("paths", "")
        return f"{entry['id']}={paths}" if paths else entry["id"]
    return write_record([f"{name}={value}" for name, value in entry.items()])
