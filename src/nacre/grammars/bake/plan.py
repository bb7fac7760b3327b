"""What is to be built: targets with all that they inherit and what the command line overrides.

Source: buildx, bake.ReadTargets and newOverrides.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from ...words.errors import InvalidDocument, NotFound, UsageError
from ..dockerfile.gitsource import is_git
from . import values
from .attributes import TYPES, UPDATED, Fields, merged, normal
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from .definition import Definition

_NAMES = {"platform": "platforms", "secrets": "secret"}
"""Attributes that have another name in `--set`; both are taken."""
_FIXED = ("description", "inherits")
_ADDED = ("annotations", "entitlements", "attest")
LINK = "target:"
_WILD = frozenset("*?[")
_REMOTE = ("http://", "https://", "docker-image://", "oci-layout://", LINK)


class BakePlan:
    """`targets` in an order in which each comes after those that it is made from.

    `linked` are there only because another one needs them; `groups` are those that were asked for.
    """

    def __init__(self) -> None:
        self.targets: dict[str, Fields] = {}
        self.linked: set[str] = set()
        self.groups: dict[str, list[str]] = {}

    def document(self) -> dict[str, Any]:
        """As `docker buildx bake --print` shows it, with `${` and `%{` escaped."""
        targets = {name: _shown(self.targets[name]) for name in sorted(self.targets)}
        groups = {name: {"targets": sorted(self.groups[name])} for name in sorted(self.groups)}
        return {"group": groups, "target": targets}


def _shown(fields: Fields) -> dict[str, Any]:
    return {name: _escaped(fields[name]) for name in TYPES if name in fields}


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {name: _escaped(value[name]) for name in sorted(value)}
    return [_escaped(each) for each in value] if isinstance(value, list) else value


def resolve(found: Definition, names: Sequence[str], overrides: Sequence[tuple[str, str | None]]) -> BakePlan:
    """The plan for targets and groups (none: `default`), with `KEY=VALUE` of `--set`.

    Names may be patterns of the shell. Raises NotFound, UsageError, InvalidDocument.
    """
    asked = [name.replace(".", "_") for name in names or ("default",)]
    expanded = [each for name in asked for each in _expanded(name, found)]
    return _Resolver(found, overrides).plan(list(dict.fromkeys(expanded)))


def _expanded(name: str, found: Definition) -> list[str]:
    """The targets and groups that a name, or a pattern, means."""
    known = {*found.targets, *found.groups}
    return [name] if name in known or not _WILD.intersection(name) else _matching(name, sorted(known))


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    if matching := [name for name in names if fnmatchcase(name, pattern)]:
        return matching
    raise NotFound(f"could not find any target matching '{pattern}'")


def is_folder(source: str) -> bool:
    """Whether a context is a folder of this machine."""
    return not source.startswith(_REMOTE) and not is_git(source)


class _Resolver:
    def __init__(self, found: Definition, overrides: Sequence[tuple[str, str | None]]) -> None:
        self._found = found
        self._overrides: dict[str, dict[str, list[str]]] = {}
        for key, value in overrides:
            self._override(key, value)
        self._done: dict[str, Fields | None] = {}
        self._plan = BakePlan()

    def plan(self, names: Sequence[str]) -> BakePlan:
        """Of the names, which are in the plan in the order in which they were asked for."""
        for name in names:
            for target in self._members(name, ()):
                self._add(target, (), is_linked=False)
        self._name_default(names)
        return self._plan

    def _name_default(self, names: Sequence[str]) -> None:
        groups = self._plan.groups
        if names != ["default"] or "default" not in groups:
            asked = [name for name in names if name != "default" or "default" not in groups]
            groups["default"] = list(dict.fromkeys([*groups.get("default", []), *asked]))

    def _members(self, name: str, above: tuple[str, ...]) -> list[str]:
        """The targets of a group, or the one of this name."""
        if name not in self._found.groups or (name in self._found.targets and name in above):
            return [name]
        if name in above:
            return []
        self._plan.groups[name] = self._found.groups[name]
        return [each for inner in self._found.groups[name] for each in self._members(inner, (*above, name))]

    # links

    def _add(self, name: str, above: tuple[str, ...], *, is_linked: bool) -> Fields:
        fields = self._resolved(name)
        if name in self._plan.targets:
            if not is_linked:
                self._plan.linked.discard(name)
            return self._plan.targets[name]
        for link in self._links(fields):
            if link in (*above, name):
                raise InvalidDocument(f"the target {name} is made from itself by way of {link}")
            fields = self._linked(fields, self._add(link, (*above, name), is_linked=True))
        self._plan.targets[name] = fields
        if is_linked:
            self._plan.linked.add(name)
        return fields

    def _links(self, fields: Fields) -> list[str]:
        contexts = fields.get("contexts", {}).values()
        return [each.removeprefix(LINK) for each in contexts if each.startswith(LINK)]

    def _linked(self, fields: Fields, source: Fields) -> Fields:
        """A target needs the entitlements of what it is made from, and no platform that that has not."""
        ours, theirs = fields.get("platforms", []), source.get("platforms", [])
        if len(ours) > 1 and len(theirs) > 1 and not set(ours) <= set(theirs):
            raise InvalidDocument(f"a target for {', '.join(ours)} is made from one for {', '.join(theirs)}")
        needed = source.get("entitlements", [])
        return normal(merged(fields, {"entitlements": needed})) if needed else fields

    # inheritance

    def _resolved(self, name: str) -> Fields:
        fields = self._inherited(name)
        fields = {"context": ".", "dockerfile": "Dockerfile", **(fields or {})}
        fields.pop("inherits", None)
        return fields

    def _inherited(self, name: str) -> Fields | None:
        """None where a target inherits from itself: nothing more comes of it, as with docker."""
        if name in self._done:
            return self._done[name]
        if name not in self._found.targets:
            raise NotFound(f"failed to find target {name}")
        self._done[name] = None
        own, fields = self._found.targets[name], Fields()
        for parent in own.get("inherits", []):
            fields = merged(fields, self._inherited(parent.replace(".", "_")) or {})
        fields = self._overridden(merged(fields, own), self._overrides.get(name, {}))
        self._done[name] = done = normal(fields)
        return done

    # overrides

    def _override(self, key: str, value: str | None) -> None:
        pattern, dot, attribute = key.partition(".")
        if not dot:
            raise UsageError(f"invalid override key {key}, expected target.name")
        if value is None and not attribute.startswith("args."):
            raise UsageError(f"invalid override {key}, expected target.name=value")
        for name in self._matching(pattern):
            known = self._overrides.setdefault(name, {})
            if value is not None:
                known.setdefault(attribute, []).append(value)

    def _matching(self, pattern: str) -> list[str]:
        targets = self._found.targets
        return [pattern] if pattern in targets else _matching(pattern, targets)

    def _overridden(self, fields: Fields, overrides: dict[str, list[str]]) -> Fields:
        for key, given in overrides.items():
            try:
                fields = _with(fields, key, given)
            except BadValue as error:
                raise UsageError(f"invalid value {given[-1]} for --set {key}: {error}") from None
        return fields


def _with(fields: Fields, key: str, given: list[str]) -> Fields:
    """The target with one key of `--set`. Raises BadValue, UsageError."""
    written, _, inner = key.partition(".")
    if written in ("push", "load"):
        return {**fields, "output": _OUTPUTS[written](fields.get("output", []), values.truth(given[-1]))}
    name = _NAMES.get(written, written)
    if name not in TYPES or name in _FIXED:
        raise UsageError(f"unknown key: {written}")
    if name in UPDATED:
        if not inner:
            raise UsageError(f"invalid key {key}, {name} requires name")
        return merged(fields, {name: {inner: given[-1]}})
    read = TYPES[name]
    if read in (values.text, values.truth):
        return {**fields, name: read(given[-1])}
    return merged(fields, {name: read(given)}) if name in _ADDED else {**fields, name: read(given)}


def _pushed(outputs: list[dict[str, str]], wanted: bool) -> list[dict[str, str]]:
    """Every image is pushed, or none; one more output where there is nothing but what stays here."""
    if not wanted:
        return [{**each, "push": "false"} if each.get("type") == "image" else each
                for each in outputs if each.get("type") != "registry"]  # fmt: skip
    found = [{**each, "push": "true"} if each.get("type") == "image" else each for each in outputs]
    if all(each.get("type") == "docker" for each in outputs):
        found.append({"type": "image", "push": "true"})
    return found


def _loaded(outputs: list[dict[str, str]], wanted: bool) -> list[dict[str, str]]:
    if not wanted or any(each.get("type") == "docker" and "dest" not in each for each in outputs):
        return outputs
    if any(each.get("type") not in ("docker", "image", "registry", "oci") for each in outputs):
        return outputs
    return [*outputs, {"type": "docker"}]


_OUTPUTS = {"push": _pushed, "load": _loaded}
