"""What `nacre build` does with what it has built: `--output`, `--push`, `--annotation`, files about it.

    output     = DIRECTORY | "-" | field *( "," field )        field = name "=" value, as CSV
    annotation = [ level *( "," level ) ":" ] key "=" value    level = type [ "[" platform "]" ]
    attribute  = "annotation" [ "-" type ] [ "[" platform "]" ] "." key

Sources: docker buildx build, "--output", "--annotation" and "--metadata-file"; BuildKit's exporters.
"""

from __future__ import annotations

import os

from ..engine.outputs import CACHE_ONLY, DOCKER_ARCHIVE, IMAGE, KINDS, LOCAL, OCI, TAR, BuildOutput
from ..grammars.csvline import read_record
from ..words.errors import Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..engine import Built
    from ..engine.outputs import OutputResult
    from ..images.arrows.exporting import Annotation
    from ..words.progress import Progress
    from .context import Context
    from .options import Args

_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
_IMAGES = (
    "name", "compression", "compression-level", "force-compression", "oci-mediatypes", "rewrite-timestamp",
    "oci-artifact",
)  # fmt: skip
_ATTRIBUTES = {
    IMAGE: (
        *_IMAGES, "push", "push-by-digest", "registry.insecure", "store", "unpack", "name-canonical",
    ),
    OCI: (*_IMAGES, "dest", "tar"), DOCKER_ARCHIVE: (*_IMAGES, "dest", "tar"),
    LOCAL: ("dest", "platform-split", "attestation-prefix"),
    TAR: ("dest", "platform-split", "attestation-prefix"), CACHE_ONLY: (),
}  # fmt: skip
_CODECS = {"uncompressed": "none", "gzip": "gzip", "zstd": "zstd", "zstd:chunked": "zstd:chunked"}
_ALWAYS = {"rewrite-timestamp": "true", "unpack": "true"}
"""Attributes that ask for what happens anyway, if they have this value."""


def outputs(context: Context, args: Args, platforms: int, *, attested: bool = False) -> list[BuildOutput]:
    """All that is to be written, of so many platforms. Raises UsageError, Unsupported."""
    written = [_Attributes(text) for text in args.output]
    if args.push:
        _push(written)
    if args.load is True and "load" in args.given:
        written.append(_Attributes("type=docker"))
    notes = tuple(note for text in args.annotation for note in read_annotations(text))
    found = list(dict.fromkeys(_output(context, each, args, notes) for each in written))
    if not any(output.kind in (IMAGE, CACHE_ONLY) for output in found):
        found.insert(0, BuildOutput(names=tuple(args.tag), annotations=notes))
    for output in found:
        output.check(platforms, attested=attested)
    _check_together(found, args)
    if attested:
        _check_attested(found, args)
    return found


def _check_together(found: list[BuildOutput], args: Args) -> None:
    """Raises UsageError for outputs of which one excludes another."""
    streams = [each for each in found if each.kind in (OCI, DOCKER_ARCHIVE, TAR) and each.path in ("", "-")]
    if len(streams) > 1:
        raise UsageError("only one output can go to standard output", hint="give the others a dest")
    if args.format == "docker" and any(each.annotations and not each.format for each in found):
        raise UsageError("--annotation: Docker manifests have no annotations", hint="choose --format oci")


def _check_attested(found: list[BuildOutput], args: Args) -> None:
    """Raises Unsupported where attestations would go nowhere, UsageError for images that cannot have any."""
    if args.format == "docker":
        raise UsageError("Docker manifests have no attestations", hint="choose --format oci")
    kept = (each for each in found if each.kind in (OCI, LOCAL, TAR) or (each.kind == IMAGE and each.names))
    if not any(kept):
        raise UsageError(
            "attestations go with a name of the image, or with an output",
            hint="give it a name with -t, or use --output type=oci, local or tar",
        )


def _push(written: list[_Attributes]) -> None:
    """As buildx: it makes an image that is asked for anyway one that is pushed."""
    images = [each for each in written if each.kind == IMAGE]
    for each in images:
        each.fields["push"] = "true"
    if not images:
        written.append(_Attributes("type=registry"))


class _Attributes:
    """One --output, read; `text` is for messages."""

    def __init__(self, text: str) -> None:
        self.text, self.fields = text, _fields(text)
        self.kind = self.fields.pop("type", "")
        if self.kind == "registry":
            self.kind = IMAGE
            self.fields.setdefault("push", "true")
        if self.kind == DOCKER_ARCHIVE and not self.fields.get("dest") and "tar" not in self.fields:
            self.kind = IMAGE  # docker loads it then, and here it is in the store
            self.fields.pop("dest", None)
        if self.kind not in KINDS:
            known = ", ".join(sorted((*KINDS, "registry")))
            raise UsageError(f"--output {text}: unknown type {self.kind[:80]!r}", hint=f"use one of {known}")

    def flag(self, name: str, default: bool | None = None) -> bool | None:
        """A boolean. Raises UsageError."""
        value = self.fields.get(name)
        if value is None:
            return default
        if value.lower() not in _TRUE + _FALSE:
            raise UsageError(f"--output {self.text}: {name}={value} is neither true nor false")
        return value.lower() in _TRUE


def _fields(text: str) -> dict[str, str]:
    if "=" not in text:
        return {"type": TAR if text == "-" else LOCAL, "dest": text}
    return {key.strip().lower(): value for key, _, value in (f.partition("=") for f in read_record(text))}


def _output(context: Context, given: _Attributes, args: Args, notes: tuple[Annotation, ...]) -> BuildOutput:
    kind, fields = given.kind, given.fields
    notes = (*notes, *_taken_annotations(given)) if kind in (IMAGE, OCI, DOCKER_ARCHIVE) else ()
    _check_attributes(context, given)
    named = tuple(args.tag) if kind in (IMAGE, OCI, DOCKER_ARCHIVE) else ()
    names = named or tuple(name for name in fields.get("name", "").split(",") if name)
    push = bool(given.flag("push"))
    if push and given.flag("registry.insecure"):
        _trust(context, names)
    return BuildOutput(
        kind, _destination(given), names, push, bool(given.flag("push-by-digest")),
        bool(given.flag("store", True)) and not given.flag("push-by-digest"),
        given.flag("tar", True) is False, given.flag("platform-split"), _format(given, args),
        _compression(given), _level(given), bool(given.flag("force-compression")), notes,
        fields.get("attestation-prefix", ""), bool(given.flag("oci-artifact", True)),
    )  # fmt: skip


def _trust(context: Context, names: Sequence[str]) -> None:
    from ..words.reference import Reference

    context.insecure |= {Reference.parse(name).registry for name in names}


def _check_attributes(context: Context, given: _Attributes) -> None:
    known = _ATTRIBUTES[given.kind]
    for name in given.fields:
        if name not in known:
            hint = f"known are {', '.join(sorted(known))}" if known else ""
            raise UsageError(f"--output {given.text}: type={given.kind} has no attribute {name!r}", hint=hint)
        if name in _ALWAYS and given.flag(name) is False:
            context.warn(f"WARNING: {name}=false has no effect: an image is always made so")
    if given.flag("name-canonical") and not given.flag("push-by-digest"):
        context.warn("WARNING: name-canonical has no effect: digests are names in the store anyway")


def _destination(given: _Attributes) -> str:
    path = given.fields.get("dest", "")
    if given.kind == LOCAL and (not path or path == "-"):
        raise UsageError(f"--output {given.text}: dest is required for local exporter")
    if given.flag("tar", True) is False and (not path or path == "-"):
        raise UsageError(f"--output {given.text}: tar=false needs a directory as dest")
    return path


def _format(given: _Attributes, args: Args) -> str:
    types = given.flag("oci-mediatypes")
    if types is not None:
        return "oci" if types else "docker"
    return "docker" if given.kind == DOCKER_ARCHIVE and "format" not in args.given else ""


def _compression(given: _Attributes) -> str:
    name = given.fields.get("compression", "")
    if name == "estargz":
        raise Unsupported(
            f"--output {given.text}: compression=estargz is not supported", hint="use zstd:chunked"
        )
    if name and name not in _CODECS:
        raise UsageError(
            f"--output {given.text}: unknown compression {name!r}", hint=f"use {', '.join(_CODECS)}"
        )
    needs = [one for one in ("compression-level", "force-compression") if one in given.fields]
    return _CODECS[name] if name else "gzip" if needs else ""


def _level(given: _Attributes) -> int | None:
    text = given.fields.get("compression-level")
    if text is None:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise UsageError(f"--output {given.text}: compression-level={text} is not a number")
    from ..grammars.codecs.compressor import check_level

    check_level(_compression(given), int(text))
    return int(text)


# annotations


def read_annotations(text: str) -> list[Annotation]:
    """Those of one --annotation. Raises UsageError."""
    left, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"invalid annotation {text!r}: expected key=value")
    levels, colon, key = left.partition(":")
    if not colon:
        levels, key = "manifest", left
    if not key:
        raise UsageError(f"invalid annotation {text!r}: it has no key")
    return [_annotation(text, level, key, value) for level in levels.split(",")]


def _annotation(text: str, level: str, key: str, value: str) -> Annotation:
    from ..images.arrows.exporting import LEVELS, Annotation
    from ..words.oci import Platform

    name, bracket, platform = level.partition("[")
    if name not in LEVELS or (bracket and not platform.endswith("]")):
        raise UsageError(
            f"invalid annotation {text!r}: unknown type {level!r}",
            hint=f"use {', '.join(LEVELS)}, with [os/architecture] where it is for one platform",
        )
    if bracket and name.startswith("index"):
        raise UsageError(f"invalid annotation {text!r}: an index is for all platforms")
    return Annotation(key, value, name, Platform.parse(platform[:-1]) if bracket else None)


def _taken_annotations(given: _Attributes) -> list[Annotation]:
    """Those among the attributes, which are taken out."""
    names = [name for name in given.fields if name.startswith("annotation")]
    return [_of_attribute(given, name, given.fields.pop(name)) for name in names]


def _of_attribute(given: _Attributes, name: str, value: str) -> Annotation:
    level, dot, key = name.removeprefix("annotation").partition(".")
    if level.partition("[")[0].startswith("-"):
        level = level[1:]
    elif not level or level.startswith("["):
        level = f"manifest{level}"
    if not dot or not key:
        raise UsageError(f"--output {given.text}: {name} is not annotation.KEY")
    return _annotation(given.text, level, key, value)


# doing


def write(
    context: Context, built: Built, wanted: Sequence[BuildOutput], progress: Progress
) -> list[OutputResult]:
    """Write all of them, one after the other; what each has made."""
    results = [_write(context, built, output, progress) for output in wanted]
    if not any(output.kind == IMAGE and output.stores and not output.changes for output in wanted):
        context.engine.outputs.forget(built.images)
    elif len(built.images) > 1 and any(output.push or output.kind != IMAGE for output in wanted):
        context.engine.outputs.forget([image for image in built.images if image != built.image])
    return results


def _write(context: Context, built: Built, output: BuildOutput, progress: Progress) -> OutputResult:
    from functools import partial

    write = partial(
        context.engine.outputs.write, built.images, output, attestations=built.attestations, progress=progress
    )
    if output.kind not in (OCI, DOCKER_ARCHIVE, TAR) or output.is_folder:
        return write()
    from ..engine.archives import Written
    from .files import write_out

    done = []
    path = "" if output.path == "-" else output.path
    write_out(
        context, path,
        lambda give: done.append(write(target=Written(give))),
        "write a tar",
    )  # fmt: skip
    return done[0]


# files about a build


def image_id(built: Built, results: Sequence[OutputResult]) -> str:
    """What --iidfile and --quiet say: the id of the image, of several platforms the digest of their index."""
    if len(built.images) == 1:
        return str(built.image.id)
    found = [result.descriptor.digest for result in results if result.descriptor]
    return str(found[-1] if found else built.image.id)


def write_metadata(context: Context, path: str, built: Built, results: Sequence[OutputResult]) -> None:
    """The file of --metadata-file; it appears whole. Raises StoreError."""
    write_json(context, path, metadata(built, results))


def write_json(context: Context, path: str, document: Mapping[str, Any]) -> None:
    """A file of JSON, with its names sorted; it appears whole. Raises StoreError."""
    import json

    from .files import write_out

    text = json.dumps(dict(sorted(document.items())), indent=2, ensure_ascii=False)
    write_out(context, path, lambda give: give(text.encode()), "write metadata")


def metadata(built: Built, results: Sequence[OutputResult]) -> dict[str, Any]:
    """What --metadata-file says, with the keys of buildx."""
    from .buildx import NODE

    found: dict[str, Any] = {"buildx.build.ref": f"{NODE}/{built.ref or _reference()}"}
    for result in results:
        if result.descriptor is not None:
            found |= {"containerimage.descriptor": result.descriptor.to_json()}
            found |= {"containerimage.digest": str(result.descriptor.digest)}
            found |= {"image.name": ",".join(result.names)} if result.names else {}
    if len(built.images) == 1 and len(found) > 1:
        found["containerimage.config.digest"] = str(built.image.id)
    return found | dict(_provenance(built))


def _provenance(built: Built) -> Iterator[tuple[str, Any]]:
    from json import loads

    for image, said in zip(built.images, built.provenance, strict=False):
        platform = f"/{image.config.platform}" if len(built.images) > 1 else ""
        yield f"buildx.build.provenance{platform}", loads(said)


def _reference() -> str:
    """The name of this build, 25 letters and digits as BuildKit's."""
    number, letters = int.from_bytes(os.urandom(16)), "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(letters[number // 36**at % 36] for at in range(25))
