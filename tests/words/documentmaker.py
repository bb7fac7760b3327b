"""Documents of the image specification: a whole one of each kind, and each way in which a field can be wrong.

A `Field` says where it stands, what it may be and whether it must be there. `spoiled` puts everything else
there. Source: image-spec, config.md, manifest.md, image-index.md, descriptor.md; null counts as absent,
as Go reads it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
HEX = "0123456789abcdef" * 4
DIGEST = "sha256:" + HEX
ODD = {"text": "text", "number": 5, "fraction": 1.5, "truth": True, "list": ["x"], "map": {"k": "v"}}
"""A value of each kind that JSON has, none of them empty."""
KINDS = {
    "text": ("text",), "size": ("number",), "version": (), "texts": ("list",), "labels": ("map",),
    "set": ("map",), "map": ("map",), "list": ("list",), "steps": (), "word or words": ("text", "list"),
    "digest": (), "digests": (), "anything": tuple(ODD),
}  # fmt: skip


class Field(NamedTuple):
    """`kind` is one of KINDS; `needed`: a document without it is refused; `null`: null there is not."""

    path: Path
    kind: str
    needed: bool = False
    null: bool = False


class Case(NamedTuple):
    """A document, what was done to it, and whether it may be read."""

    what: str
    document: Any
    valid: bool

    @property
    def data(self) -> bytes:
        """As JSON."""
        return json.dumps(self.document).encode()


def descriptor(media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 7, **more}


_FULL = descriptor(
    "application/vnd.oci.image.manifest.v1+json", annotations={"a.b/c": "d", "empty": ""}, artifactType="x/y",
    urls=["https://host.x/blob"], data="eA==",
    platform={"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1", "os.features": ["f"]},
)  # fmt: skip
_DOCUMENT = {"schemaVersion": 2, "annotations": {"n": "o"}, "artifactType": "x/y", "subject": _FULL}
WHOLE: dict[str, dict[str, Any]] = {
    "descriptor": _FULL,
    "manifest": _DOCUMENT | {
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": _FULL, "layers": [_FULL, _FULL],
    },
    "index": _DOCUMENT | {
        "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [_FULL, _FULL],
    },
    "config": {
        "os": "linux", "architecture": "arm64", "variant": "v8", "os.version": "1", "os.features": ["f"],
        "created": "2024-02-03T04:05:06.7Z", "author": "A", "unknown": {"kept": 1},
        "config": {
            "User": "1:2", "WorkingDir": "/w", "StopSignal": "TERM", "Env": ["A=1", "B="], "Cmd": ["a", ""],
            "Entrypoint": ["/e"], "Shell": ["/s"], "OnBuild": ["RUN x"], "Labels": {"l": "m", "n": ""},
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]},
        "history": [{"created_by": "x"}, {"empty_layer": True, "comment": "c"}],
    },
}  # fmt: skip

_DESCRIPTOR = (
    Field(("digest",), "digest", True), Field(("size",), "size", True), Field(("mediaType",), "text"),
    Field(("annotations",), "labels"), Field(("artifactType",), "text"), Field(("urls",), "anything"),
    Field(("data",), "anything"), Field(("platform",), "map"), Field(("platform", "os"), "text"),
    Field(("platform", "architecture"), "text"), Field(("platform", "variant"), "text"),
    Field(("platform", "os.version"), "text"), Field(("platform", "os.features"), "texts"),
)  # fmt: skip
_SHARED = (
    Field(("schemaVersion",), "version", True), Field(("annotations",), "labels"),
    Field(("artifactType",), "text"), Field(("subject",), "map"),
)  # fmt: skip


def _in(*places: Path) -> Iterator[Field]:
    for place in places:
        yield from (field._replace(path=place + field.path) for field in _DESCRIPTOR)


FIELDS: dict[str, list[Field]] = {
    "descriptor": [*_DESCRIPTOR],
    "manifest": [
        *_SHARED, Field(("config",), "map", True), Field(("layers",), "list"),
        Field(("layers", 0), "map", True),
        *_in(("config",), ("layers", 0), ("layers", 1), ("subject",)),
    ],
    "index": [
        *_SHARED, Field(("manifests",), "list", True, null=True), Field(("manifests", 1), "map", True),
        *_in(("manifests", 0), ("manifests", 1), ("subject",)),
    ],
    "config": [
        *(Field((name,), "text") for name in ("os", "architecture", "variant", "os.version", "created")),
        Field(("os.features",), "texts"), Field(("unknown",), "anything"), Field(("config",), "map"),
        *(Field(("config", name), "text") for name in ("User", "WorkingDir", "StopSignal")),
        *(Field(("config", name), "texts") for name in ("Env", "OnBuild")),
        *(Field(("config", name), "word or words") for name in ("Cmd", "Entrypoint", "Shell")),
        Field(("config", "Labels"), "labels"), Field(("config", "ExposedPorts"), "set"),
        Field(("config", "Volumes"), "set"), Field(("rootfs",), "map"),
        Field(("rootfs", "diff_ids"), "digests"),
        Field(("history",), "steps"), Field(("history", 0), "map"),
    ],
}  # fmt: skip


def spoiled(kind: str) -> Iterator[Case]:
    """The whole document, and each of its fields absent, null and of every kind that JSON has."""
    yield Case("whole", WHOLE[kind], True)
    for field in FIELDS[kind]:
        name = ".".join(map(str, field.path))
        if isinstance(field.path[-1], str):
            yield Case(f"no {name}", _without(kind, field.path), not field.needed)
        yield Case(f"{name} null", _with(kind, field.path, None), field.null or not field.needed)
        for what, value in _values(field.kind):
            yield Case(f"{name}: {what}", _with(kind, field.path, value), what.startswith("fine"))


def _values(kind: str) -> Iterator[tuple[str, Any]]:
    for what, value in ODD.items():
        fine = what in KINDS[kind] and kind != "list"
        if kind != "map" or what != "map":  # {"k": "v"} is of the right kind, but lacks what it needs
            yield ("fine, " if fine else "") + what, value
    items = {"texts": ODD, "word or words": ODD, "labels": ODD, "digests": ODD, "list": ODD, "steps": ODD}
    for what, value in items.get(kind, {}).items():
        fine = what == "text" and kind in ("texts", "word or words", "labels")
        if kind not in ("list", "steps") or what != "map":
            yield f"{'fine, ' if fine else ''}{what} in it", {"k": value} if kind == "labels" else [value]
    yield from _SPECIAL.get(kind, [])


_SPECIAL: dict[str, list[tuple[str, Any]]] = {
    "size": [
        ("fine, none", 0), ("fine, large", 1 << 61), ("negative", -1), ("as text", "7"), ("false", False),
        ("too large", 1 << 63), ("whole fraction", 7.0),
    ],
    "version": [("fine, 2", 2), ("1", 1), ("3", 3), ("as text", "2"), ("0", 0), ("true", True)],
    "digest": [
        ("fine, other", "sha256:" + "f" * 64), ("fine, sha512", "sha512:" + HEX * 2), ("empty", ""),
        ("bare", HEX),
        ("no algorithm", ":" + HEX), ("no encoding", "sha256"), ("nothing behind it", "sha256:"),
        ("short", "sha256:" + HEX[1:]), ("long", DIGEST + "0"), ("capital algorithm", "SHA256:" + HEX),
        ("capitals", "sha256:" + HEX.upper()), ("no hexadecimal", "sha256:" + "g" * 64),
        ("path", "sha256:../../x"),
        ("length of another", "sha512:" + HEX), ("blank", DIGEST + " "), ("line", DIGEST + "\n"),
        *((f"fine, {text}", f"{text}:AZaz09=_-") for text in ("md5", "a+b", "a.b_c-d", "multihash+base58")),
        *((text, f"{text}:abc") for text in ("a+", "+a", "a++b", "a+-b", "a/b", "A", "a b", "..", "a..b",
        "é")),
        ("dots in the encoding", "other:.."), ("slash in the encoding", "other:a/b"),
    ],
    "digests": [
        ("fine, none", []), ("fine, sha512", ["sha512:" + HEX * 2]), ("null in it", [None]),
        ("unknown", ["md5:00"]),
        ("good and bad", [DIGEST, "sha256:" + "g" * 64]), ("as text", DIGEST),
    ],
    "texts": [("fine, none", []), ("fine, null in it", [None]), ("fine, several", ["a=b", "", "c"])],
    "word or words": [("fine, none", []), ("fine, null in it", [None]), ("fine, empty word", "")],
    "labels": [("fine, none", {}), ("fine, null in it", {"k": None}), ("fine, empty", {"": ""})],
    "set": [("fine, none", {}), ("fine, null in it", {"k": None})],
    "list": [("null in it", [None])],
    "steps": [("fine, null in it", [None]), ("fine, empty", [{}]), ("fine, none", [])],
    "text": [("fine, empty", ""), ("fine, odd", "\u0000\u00e9\U0001f40c"), ("fine, long", "x" * 300)],
}  # fmt: skip


def _with(kind: str, path: Path, value: Any) -> Any:
    document = copy.deepcopy(WHOLE[kind])
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def _without(kind: str, path: Path) -> Any:
    document = copy.deepcopy(WHOLE[kind])
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return document


NOT_JSON = [
    b"", b" ", b"{", b"}", b"{'a': 1}", b'{"a": 1.0.0}', b'{"a" 1}', b'{"a": 1,}', b"{} {}", b"nul",
    b"\xff\xfe{}",
    b'{"a": "\x01"}', b'{"a": "b}', b"[" * 10_000, b'{"a":' * 10_000, b"// note\n{}",
]  # fmt: skip
