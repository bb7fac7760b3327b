"""The documents of the OCI image-spec and their Docker twins: descriptor, manifest, index, config.

Every document keeps the JSON it was read from, so unknown fields survive and `encode()` of an
unchanged document gives equal JSON; the *bytes* of a manifest live in the blob store, because its
digest is over bytes. Sources: OCI image-spec v1.1 descriptor.md, manifest.md, image-index.md,
config.md; Docker image manifest v2 schema 2.
"""

from __future__ import annotations

import os

from .digest import Digest
from .errors import InvalidDocument, InvalidName, TooLarge, UsageError
from .quickjson import dumps, loads
from .value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Self

MAX_DOCUMENT = 4 * 1024 * 1024
"""Most bytes of JSON that is read from outside (the limit that registries set for manifests)."""

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
DOCUMENT_TYPES = MANIFEST_TYPES + INDEX_TYPES

OCI, DOCKER = "oci", "docker"
"""The two kinds of manifest."""
_FORMS = {"oci": OCI, "docker": DOCKER, "v2s2": DOCKER}

_MACHINES = {
    "x86_64": ("amd64", ""), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"),
    "i686": ("386", ""), "i386": ("386", ""), "ppc64le": ("ppc64le", ""), "s390x": ("s390x", ""),
    "riscv64": ("riscv64", ""), "loongarch64": ("loong64", ""), "mips64": ("mips64", ""),
}  # fmt: skip


_SYSTEMS = ("linux", "windows", "darwin", "freebsd")


class Platform(Value):
    """Operating system, architecture and variant, in the words of Go (`linux/arm64/v8`)."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """`os["(" version ")"]/architecture[/variant]`, as containerd writes it. Raises InvalidName.

        A known system alone means the architecture of this machine, a known architecture alone Linux.
        """
        parts = _completed(text.lower().split("/"))
        system, bracket, version = parts[0].partition("(")
        parts[0] = system
        good = not bracket or (version.endswith(")") and _is_word(version[:-1].replace(".", "")))
        if not 2 <= len(parts) <= 3 or not good or not all(_is_word(_dotless(part)) for part in parts):
            raise InvalidName(f"invalid platform {text!r}: expected os/architecture[/variant]")
        system, architecture, variant = (*parts, "")[:3]
        architecture, implied = _MACHINES.get(architecture, (architecture, ""))
        return cls(system, architecture, _variant(architecture, variant or implied), version[:-1])

    @classmethod
    def host(cls) -> Self:
        """The platform of this machine."""
        architecture, variant = _MACHINES.get(os.uname().machine, (os.uname().machine, ""))
        return cls("linux", architecture, _variant(architecture, variant))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """From the `platform` of a descriptor or from an image config. Raises InvalidDocument."""
        fields = _typed(value, dict, "platform")
        architecture = _string(fields, "architecture")
        variant = _variant(architecture, _string(fields, "variant"))
        features = _typed(fields.get("os.features") or [], list, "os.features")
        named = tuple(_typed(feature, str, "os.features") for feature in features if feature is not None)
        return cls(_string(fields, "os"), architecture, variant, _string(fields, "os.version"), named)

    def to_json(self) -> dict[str, Any]:
        """As the `platform` of a descriptor."""
        extra = {"variant": self.variant, "os.version": self.os_version}
        out: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        out |= {k: v for k, v in extra.items() if v}
        return out | ({"os.features": list(self.os_features)} if self.os_features else {})

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _completed(parts: list[str]) -> list[str]:
    if len(parts) == 1 and parts[0].partition("(")[0] in _SYSTEMS:
        host = Platform.host()
        return [*parts, host.architecture, *filter(None, [host.variant])]
    known = {*_MACHINES, *(name for name, _ in _MACHINES.values())}
    return ["linux", *parts] if len(parts) == 1 and parts[0] in known else parts


def form_of(name: str) -> str:
    """OCI or DOCKER by the names that docker, podman and skopeo give them; "" of "". Raises UsageError."""
    if name == "v2s1":
        raise UsageError("v2s1 (Docker schema 1) was withdrawn in 2020 and is not supported")
    if name and name not in _FORMS:
        raise UsageError(f"invalid format {name!r}: expected docker (or v2s2), or oci")
    return _FORMS.get(name, "")


def _is_word(part: str) -> bool:
    return part.isascii() and part.replace("_", "").isalnum()


def _dotless(part: str) -> str:
    """`v9.2` without its dot."""
    major, dot, minor = part.partition(".")
    return major + minor if dot and major[:1] == "v" and minor.isdecimal() else part


def _variant(architecture: str, variant: str) -> str:
    """`v8` is what arm64 means, so it is not said (containerd's normalisation)."""
    return "" if (architecture, variant) == ("arm64", "v8") else variant


class Descriptor(Value):
    """Content by digest, size in bytes and media type. Source: descriptor.md."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises InvalidDocument. `urls` and `data` are ignored on purpose: content comes by digest."""
        fields = _typed(value, dict, "descriptor")
        size = fields.get("size")
        if type(size) is not int or not 0 <= size < 1 << 62:
            raise InvalidDocument(f"descriptor has no valid size: {size!r}")
        platform = Platform.from_json(fields["platform"]) if fields.get("platform") else None
        return cls(
            _string(fields, "mediaType"), _digest(fields), size, platform,
            tuple(sorted(_strings(fields.get("annotations"), "annotations").items())),
            _string(fields, "artifactType"),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The descriptor as a manifest holds it."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform:
            out["platform"] = self.platform.to_json()
        return out

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """The descriptor of `data`."""
        return cls(media_type, Digest.of(data), len(data))


class Manifest(Value):
    """One image: its config and its layers, lowest first. Source: manifest.md."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    def encode(self) -> bytes:
        """The document as deterministic JSON."""
        layers = [layer.to_json() for layer in self.layers]
        return _encode(self, {"config": self.config.to_json(), "layers": layers})


class Index(Value):
    """Several images (or anything else) under one name. Source: image-index.md."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    def encode(self) -> bytes:
        """The document as deterministic JSON."""
        return _encode(self, {"manifests": [entry.to_json() for entry in self.manifests]})


def _encode(document: Manifest | Index, content: dict[str, Any]) -> bytes:
    """`content` between what both kinds of document have."""
    out: dict[str, Any] = {"schemaVersion": 2, "mediaType": document.media_type}
    if document.artifact_type:
        out["artifactType"] = document.artifact_type
    out |= content
    if document.subject:
        out["subject"] = document.subject.to_json()
    if document.annotations:
        out["annotations"] = dict(document.annotations)
    return encode_json(out)


class ImageConfig(Value):
    """The config document of an image: a read-only view of its JSON. Source: config.md.

    `raw` is the whole document, with values where null stands for them; `diff_ids` are those of its layers,
    lowest first.
    """

    raw: Mapping[str, Any]
    platform: Platform
    diff_ids: tuple[Digest, ...]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Build the value from parsed JSON. Raises InvalidDocument."""
        fields = _with_values(_typed(value, dict, "image config"))
        rootfs = _typed(fields.get("rootfs") or {}, dict, "rootfs")
        diff_ids = tuple(_as_digest(text) for text in _typed(rootfs.get("diff_ids") or [], list, "diff_ids"))
        _string(fields, "created")
        _check_run_config(_typed(fields.get("config") or {}, dict, "config"))
        for step in _typed(fields.get("history") or [], list, "history"):
            _typed(step, dict, "history entry")
        return cls(fields, Platform.from_json(fields), diff_ids)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parse a JSON document. Raises InvalidDocument, TooLarge."""
        return cls.from_json(decode_json(data, "image config"))

    def encode(self) -> bytes:
        """The document as deterministic JSON."""
        return encode_json(self.raw)

    @property
    def run(self) -> Mapping[str, Any]:
        """The `config` object: Env, Cmd, Entrypoint, User, WorkingDir, Labels, ExposedPorts, Volumes…"""
        return self.raw.get("config") or {}

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """Oldest first; each has created, created_by, comment, empty_layer as far as known."""
        return self.raw.get("history") or []

    @property
    def created(self) -> str:
        """RFC 3339 time or ""."""
        return self.raw.get("created") or ""

    @property
    def env(self) -> list[str]:
        """The environment as `NAME=value` strings, in order."""
        return list(self.run.get("Env") or [])

    @property
    def entrypoint(self) -> list[str]:
        """The entrypoint, [] if none."""
        return list(self.run.get("Entrypoint") or [])

    @property
    def cmd(self) -> list[str]:
        """The default arguments, [] if none."""
        return list(self.run.get("Cmd") or [])

    @property
    def user(self) -> str:
        """`user[:group]`, names or numbers, "" for root."""
        return self.run.get("User") or ""

    @property
    def working_dir(self) -> str:
        """Absolute path; "/" if unset."""
        return self.run.get("WorkingDir") or "/"

    @property
    def labels(self) -> dict[str, str]:
        """All labels of the image."""
        return dict(self.run.get("Labels") or {})


def decode_json(data: bytes, what: str) -> Any:
    """JSON from outside: at most MAX_DOCUMENT bytes, no duplicate surprises, no recursion crash."""
    if len(data) > MAX_DOCUMENT:
        raise TooLarge(f"{what} has {len(data)} bytes, more than the {MAX_DOCUMENT} allowed")
    try:
        value = loads(data)
        return _whole(value) if b"\\ud" in data or b"\\uD" in data else value
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{what} is not valid JSON: {str(error)[:200]}") from None


def _whole(value: Any) -> Any:
    """Half a pair of surrogates is U+FFFD, as for encoding/json, unless it stands for a byte (quickjson)."""
    if isinstance(value, str):
        return "".join(
            "\ufffd" if "\ud800" <= char < "\udc80" or "\udcff" < char < "\ue000" else char for char in value
        )
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def encode_json(value: Any) -> bytes:
    """Compact JSON with the keys in the order given, as UTF-8."""
    return dumps(value).encode()


def parse_document(data: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or an index from its bytes.

    `media_type` is what the transport said; it must agree with the document's own, and a document
    that could be read as both is refused (CVE-2021-41190). Raises InvalidDocument, TooLarge.
    """
    fields = _typed(decode_json(data, "manifest"), dict, "manifest")
    own = _string(fields, "mediaType")
    actual = _document_type(fields, own or media_type)
    if media_type in DOCUMENT_TYPES and own and own != media_type:
        raise InvalidDocument(f"manifest says it is {own}, but was served as {media_type}")
    notes = tuple(sorted(_strings(fields.get("annotations"), "annotations").items()))
    subject = Descriptor.from_json(fields["subject"]) if fields.get("subject") else None
    artifact = _string(fields, "artifactType")
    if actual in INDEX_TYPES:
        return Index(actual, _descriptors(fields, "manifests"), notes, subject, artifact)
    config = Descriptor.from_json(fields.get("config"))
    return Manifest(actual, config, _descriptors(fields, "layers"), notes, subject, artifact)


def _document_type(fields: dict[str, Any], media_type: str) -> str:
    if fields.get("schemaVersion") == 1 or media_type in DOCKER_SCHEMA1:
        raise InvalidDocument(
            "this is a Docker schema 1 manifest, a format withdrawn in 2020",
            hint="pull it with an older docker and push it again, or ask its owner to do so",
        )
    if fields.get("schemaVersion") != 2:
        raise InvalidDocument(f"manifest has schemaVersion {fields.get('schemaVersion')!r}, expected 2")
    has_layers, has_manifests = "layers" in fields or "config" in fields, "manifests" in fields
    if has_layers and has_manifests:
        raise InvalidDocument("document is both a manifest and an index, which is ambiguous")
    if media_type not in DOCUMENT_TYPES:
        media_type = OCI_INDEX if has_manifests else OCI_MANIFEST
    if (media_type in INDEX_TYPES) != has_manifests:
        raise InvalidDocument(f"document served as {media_type} does not have this format")
    return media_type


def _descriptors(fields: dict[str, Any], key: str) -> tuple[Descriptor, ...]:
    return tuple(Descriptor.from_json(entry) for entry in _typed(fields.get(key) or [], list, key))


def _digest(fields: dict[str, Any]) -> Digest:
    """What a descriptor names, perhaps by an algorithm that only others know."""
    return _as_digest(fields.get("digest"), Digest.named)


def _as_digest(value: Any, make: Callable[[str], Digest] = Digest) -> Digest:
    try:
        return make(_typed(value, str, "digest"))
    except InvalidName as error:
        raise InvalidDocument(error.message) from None


def _with_values(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` with what Go's programs read where null stands: "" as a word or a label, {} as a step."""
    changes: dict[str, Any] = {}
    run = fields.get("config")
    if isinstance(run, dict):
        filled = {key: _value(key, value) for key, value in run.items()}
        changes["config"] = run if all(filled[key] is run[key] for key in run) else filled
    steps = fields.get("history")
    if isinstance(steps, list) and any(step is None or None in step.values() for step in _maps(steps)):
        changes["history"] = [_value("step", {} if step is None else step) for step in steps]
    return {**fields, **changes} if changes else fields


def _maps(steps: list[Any]) -> list[dict[str, Any] | None]:
    return [step for step in steps if step is None or isinstance(step, dict)]


def _value(key: str, value: Any) -> Any:
    """The value of a key of `config`, the same object where nothing is to be changed.

    A word may stand for a list of one where docker reads its `StrSlice`.
    """
    if isinstance(value, str) and value and key in ("Entrypoint", "Cmd", "Shell"):
        return [value]
    if isinstance(value, list) and None in value:
        return ["" if item is None else item for item in value]
    if key == "Labels" and isinstance(value, dict) and None in value.values():
        return {name: "" if text is None else text for name, text in value.items()}
    if key in ("Healthcheck", "step") and isinstance(value, dict) and None in value.values():
        return {name: item for name, item in value.items() if item is not None}
    return value


def _check_run_config(run: dict[str, Any]) -> None:
    for key in ("Env", "Entrypoint", "Cmd", "Shell", "OnBuild"):
        for item in _typed(run.get(key) or [], list, key):
            _typed(item, str, key)
    for key in ("User", "WorkingDir", "StopSignal"):
        _string(run, key)
    _strings(run.get("Labels"), "Labels")
    for key in ("ExposedPorts", "Volumes"):
        _typed(run.get(key) or {}, dict, key)


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidDocument(f"{what} must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def _string(fields: Mapping[str, Any], key: str) -> str:
    text = fields.get(key)
    return str(_typed(text, str, key)) if text is not None else ""


def _strings(value: Any, what: str) -> dict[str, str]:
    """A map of texts, in which null is the empty one, as Go reads it."""
    mapping = _typed(value or {}, dict, what)
    return {key: "" if text is None else str(_typed(text, str, what)) for key, text in mapping.items()}
