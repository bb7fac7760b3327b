"""Compose files as bake files: a target for each service that is built.

Source: Compose specification, "Build"; buildx, bake/compose.go.
"""

from __future__ import annotations

from typing import Any

from ...words.errors import InvalidDocument, Unsupported
from . import values
from .attributes import TYPES, Fields, merged
from .definition import NAME, Definition
from .hcl import MOST
from .substitution import substituted
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_MOST_NODES = 1 << 17
"""Values of a file, each alias counted where it is used."""

_TEXTS = {
    "context": "context", "dockerfile": "dockerfile", "dockerfile_inline": "dockerfile-inline",
    "target": "target", "network": "network",
}  # fmt: skip
_LISTS = {
    "tags": "tags", "platforms": "platforms", "cache_from": "cache-from", "cache_to": "cache-to",
    "entitlements": "entitlements",
}  # fmt: skip
_FLAGS = {"pull": "pull", "no_cache": "no-cache"}
_KNOWN = (
    *_TEXTS, *_LISTS, *_FLAGS, "args", "labels", "additional_contexts", "extra_hosts", "secrets", "ssh",
    "shm_size", "ulimits", "sbom", "provenance", "x-bake",
)  # fmt: skip


def is_compose(name: str) -> bool:
    """Whether a file is one by its name."""
    return name.lower().endswith((".yml", ".yaml"))


def add_compose(
    found: Definition, files: Sequence[tuple[str, bytes]], environment: Mapping[str, str]
) -> None:  # fmt: skip
    """Read files into `found`, the later over the earlier. Raises InvalidDocument, Unsupported."""
    whole: Any = {}
    for name, data in files:
        whole = _over(whole, _Substitution(name, environment).value(load(data, name)))
    name = files[-1][0]
    if not isinstance(whole, dict) or not isinstance(whole.get("services") or {}, dict):
        raise InvalidDocument(f"{name}: services is not an object")
    if "include" in whole:
        raise Unsupported(f"{name}: include is not supported", hint="give the files with -f")
    reader = _Services(name, whole.get("secrets") or {}, environment, found)
    reader.read(whole.get("services") or {})


def load(data: bytes, name: str) -> Any:
    """What a file of YAML says. Raises InvalidDocument, Unsupported where PyYAML is not installed."""
    if len(data) > MOST:
        raise InvalidDocument(f"{name} has more than {MOST} bytes")
    try:
        yaml: Any = __import__("yaml")
    except ImportError:
        raise Unsupported(f"{name} is YAML, which needs PyYAML", hint="pip install nacre-oci[bake]") from None
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise InvalidDocument(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None


class _Substitution:
    """Variables in all strings of one file."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._name, self._environment, self._count = name, environment, 0

    def value(self, value: Any) -> Any:
        """With variables replaced. Raises InvalidDocument."""
        self._count += 1
        if self._count > _MOST_NODES:
            raise InvalidDocument(f"{self._name} has more than {_MOST_NODES} values")
        if isinstance(value, dict):
            return {str(name): self.value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        try:
            return substituted(text, self._environment)
        except BadValue as error:
            raise InvalidDocument(f"{self._name}: {error}") from None


def _over(below: Any, above: Any) -> Any:
    """The second over the first: objects by name, lists one after the other, all else replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{name: _over(below[name], each) if name in below else each
                            for name, each in above.items()}}  # fmt: skip
    return [*below, *above] if isinstance(below, list) and isinstance(above, list) else above


class _Services:
    def __init__(
        self, name: str, secrets: Mapping[str, Any], environment: Mapping[str, str], found: Definition
    ) -> None:  # fmt: skip
        self._name, self._secrets, self._environment, self._found = name, secrets, environment, found

    def read(self, services: Mapping[str, Any]) -> None:
        """A target for each that is built, and the group of them all."""
        names = []
        for service, content in services.items():
            if not isinstance(content, dict) or not content.get("build"):
                continue
            names.append(self._target(service, content))
        if services:
            self._found.add_group("default", names)

    def _target(self, service: str, content: Mapping[str, Any]) -> str:
        name = service.replace(".", "_")
        if not NAME.fullmatch(name):
            raise InvalidDocument(f"{self._name}: invalid service name {name[:80]!r}")
        if "extends" in content:
            raise Unsupported(f"{self._name}: {service}: extends is not supported")
        try:
            self._found.add_target(name, self._fields(service, content))
        except BadValue as error:
            raise InvalidDocument(f"{self._name}: services.{service}.build: {error}") from None
        return name

    def _fields(self, service: str, content: Mapping[str, Any]) -> Fields:
        build = content["build"]
        build = {"context": build} if isinstance(build, str) else values.mapping(build)
        self._found.unknown += [f"service {service}: {name}" for name in build if name not in _KNOWN]
        fields: Fields = {}
        for names, read in ((_TEXTS, values.text), (_FLAGS, values.truth)):
            fields.update({new: read(build[old]) for old, new in names.items() if build.get(old) is not None})
        fields.update({new: TYPES[new](build[old]) for old, new in _LISTS.items() if build.get(old)})
        for old, (new, convert) in self._others().items():
            if build.get(old):
                fields[new] = TYPES[new](convert(build[old]))
        fields = _with_attestations(fields, build)
        fields = _extended(fields, values.mapping(build.get("x-bake") or {}))
        if "tags" not in fields and content.get("image"):
            fields["tags"] = [values.text(content["image"])]
        return fields

    def _others(self) -> Mapping[str, tuple[str, Callable[[Any], Any]]]:
        return {
            "args": ("args", self._arguments),
            "labels": ("labels", lambda value: _mapped(value)),
            "additional_contexts": ("contexts", lambda value: _contexts(_mapped(value))),
            "extra_hosts": ("extra-hosts", _hosts),
            "secrets": ("secret", lambda value: [self._secret(each) for each in values.listed(value)]),
            "ssh": ("ssh", _agents),
            "shm_size": ("shm-size", str),
            "ulimits": ("ulimits", lambda value: [_ulimit(*pair) for pair in values.mapping(value).items()]),
        }

    def _arguments(self, value: Any) -> dict[str, Any]:
        """A name without a value is that of the environment, if it has one."""
        return {name: self._environment.get(name) if each is None else each
                for name, each in _mapped(value).items()}  # fmt: skip

    def _secret(self, value: Any) -> dict[str, str]:
        source = value if isinstance(value, str) else values.text(values.mapping(value).get("source"))
        declared = self._secrets.get(source) or {}
        if declared.get("external"):
            raise BadValue(f"the external secret {source} is not supported")
        fields = {"id": source, "src": declared.get("file"), "env": declared.get("environment")}
        return {name: values.text(each) for name, each in fields.items() if each}


def _mapped(value: Any) -> dict[str, Any]:
    """An object, or a list of NAME=VALUE; a name alone has None."""
    if isinstance(value, dict):
        return value
    pairs = [values.text(each).partition("=") for each in values.listed(value)]
    return {name: text if equals else None for name, equals, text in pairs}


def _contexts(known: Mapping[str, Any]) -> dict[str, str]:
    """`service:NAME` is the target of that service."""
    found = {}
    for name, value in known.items():
        kind, colon, rest = values.text(value).partition(":")
        is_link = colon and kind in ("service", "target")
        found[name] = f"target:{rest.replace('.', '_')}" if is_link else values.text(value)
    return found


def _hosts(value: Any) -> dict[str, str]:
    """HOST=ADDRESS or HOST:ADDRESS, or an object."""
    if isinstance(value, dict):
        return {name: ",".join(each) if isinstance(each, list) else values.text(each)
                for name, each in value.items()}  # fmt: skip
    found = {}
    for each in map(values.text, values.listed(value)):
        name, _, address = each.partition("=" if "=" in each else ":")
        found[name] = address
    return found


def _agents(value: Any) -> list[str]:
    return [f"{name}={path}" if path else name for name, path in _mapped(value).items()]


def _ulimit(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name}={values.text(value.get('soft'))}:{values.text(value.get('hard'))}"
    return f"{name}={values.text(value)}"


def _with_attestations(fields: Fields, build: Mapping[str, Any]) -> Fields:
    entries = []
    for name in ("sbom", "provenance"):
        if name in build:
            said = values.text(build[name])
            plain = said.lower() in ("true", "false")
            more = ({"disabled": "true"} if said.lower() == "false" else {}) if plain else _fields_of(said)
            entries.append({"type": name, **more})
    return merged(fields, {"attest": entries}) if entries else fields


def _fields_of(text: str) -> dict[str, str]:
    found: dict[str, str] = TYPES["attest"]([text])[0]
    return found


def _extended(fields: Fields, extension: Mapping[str, Any]) -> Fields:
    """What `x-bake` adds; its lists may be written as words of one string."""
    more: Fields = {}
    for name, value in extension.items():
        if name not in TYPES or name == "inherits":
            raise BadValue(f"x-bake.{name} is not known")
        is_words = isinstance(value, str) and TYPES[name] not in (values.text, values.truth)
        more[name] = TYPES[name](value.split() if is_words else value)
    if "contexts" in more:
        more["contexts"] = {**_contexts(more["contexts"]), **fields.get("contexts", {})}
    for name in ("tags", "platforms", "cache-to", "output"):
        if name in more:
            more[name] = [*fields.get(name, []), *more[name]]
    return merged(fields, more)
