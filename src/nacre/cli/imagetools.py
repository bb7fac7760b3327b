"""`nacre buildx imagetools`: images of registries looked at, and put together."""

from __future__ import annotations

import json

from ..words.errors import NotFound, UsageError
from .buildx import BUILDER
from .options import Command, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..images.arrows.combining import Combination, RemoteImage
    from ..images.arrows.statements import RemoteAttestation
    from ..words.oci import Descriptor
    from .context import Context
    from .options import Args


def _create(context: Context, args: Args) -> int:
    sources = [*args.positionals, *(word for path in args.file for word in _words(context, path))]
    if args.append:
        sources = [*_append(context, args), *sources]
    if not sources:
        raise UsageError("no sources specified")
    if not args.tag and not args.dry_run:
        raise UsageError("can't push with no tags specified, please set --tag or --dry-run")
    with context.progress(form="plain" if args.progress == "plain" else "auto") as progress:
        made = context.engine.registries.combine(
            sources, () if args.dry_run else args.tag, _how(args), progress
        )
    if args.dry_run:
        context.print(made.data.decode())
    else:
        context.warn("\n".join(f"pushed {made.descriptor.digest} to {name}" for name in args.tag))
    if args.metadata_file:
        _write(context, args.metadata_file, args.tag, made.descriptor)
    return 0


def _append(context: Context, args: Args) -> list[str]:
    """What the tag names already, if anything."""
    if len(args.tag) != 1:
        raise UsageError("--append needs one --tag")
    try:
        context.engine.registries.look(args.tag[0])
    except NotFound:
        return []
    return list(args.tag)


def _words(context: Context, path: str) -> list[str]:
    """The sources in a file: one a line, or one descriptor."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 20).strip()
    except (OSError, UnicodeDecodeError):
        raise NotFound(f"cannot read {path}") from None
    return [text] if text.startswith("{") else text.split()


def _how(args: Args) -> Combination:
    from ..images.arrows.combining import Combination
    from ..words.oci import Platform
    from .buildoutput import read_annotations

    notes = [note for text in args.annotation for note in read_annotations(text)]
    if any(note.level != "index" for note in notes):
        raise UsageError("only annotations of the index can be set here", hint="write index:KEY=VALUE")
    platforms = [Platform.parse(name) for names in args.platform for name in names.split(",")]
    return Combination(tuple(platforms), tuple((n.key, n.value) for n in notes), args.prefer_index)


def _write(context: Context, path: str, names: list[str], descriptor: Descriptor) -> None:
    from .files import write_out

    found = {"containerimage.descriptor": descriptor.to_json(), "image.name": ",".join(names)}
    write_out(context, path, lambda give: give(json.dumps(found, indent=2).encode()), "write metadata")


def _inspect(context: Context, args: Args) -> int:
    (name,) = args.positionals
    wanted = "SBOM" in args.format or "Provenance" in args.format
    found = context.engine.registries.look(name, configs=bool(args.format), attestations=wanted)
    if args.raw:
        context.print(found.data.decode("utf-8", "replace"))
    elif args.format:
        from .output import inspect_one

        inspect_one(context, _document(name, found), args.format)
    else:
        for line in _shown(name, found):
            context.print(line)
    return 0


def _shown(name: str, found: RemoteImage) -> Iterator[str]:
    from ..words.oci import Index, Platform, parse_document
    from ..words.reference import Reference

    full, descriptor = str(Reference.parse(name)), found.descriptor
    yield f"Name:      {full}"
    yield f"MediaType: {descriptor.media_type}"
    yield f"Digest:    {descriptor.digest}"
    document = parse_document(found.data, descriptor.media_type)
    if not isinstance(document, Index):
        return
    yield from (" " * 11, "Manifests: ")
    for entry in document.manifests:
        yield f"  Name:      {full}@{entry.digest}"
        yield f"  MediaType: {entry.media_type}"
        yield f"  Platform:  {entry.platform or Platform('unknown', 'unknown')}"
        yield " " * 13


def _document(name: str, found: RemoteImage) -> Any:
    from ..words.oci import decode_json
    from ..words.reference import Reference
    from .documents.shapes import SHAPES

    descriptor, fields = found.descriptor, decode_json(found.data, "manifest")
    manifest = {"mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size}
    if "manifests" in fields:
        manifest |= {
            key: fields[key] for key in ("schemaVersion", "manifests", "annotations") if key in fields
        }
    images = {
        key: SHAPES.fill("RemoteConfig", decode_json(data, "image config")) for key, data in found.configs
    }
    image = images.get("", images)
    shown = {"name": str(Reference.parse(name)), "manifest": manifest, "image": image}
    several = len(found.configs) > 1
    return SHAPES.fill("Remote", shown | attested(found.attestations, several=several))


def attested(said: Sequence[RemoteAttestation], *, several: bool) -> dict[str, Any]:
    """SBOM and provenance as buildx has them: of several images by platform."""
    found: dict[str, dict[str, Any]] = {"SBOM": {}, "Provenance": {}}
    for each in said:
        if each.type == _SPDX:
            shown = found["SBOM"].setdefault(each.platform, {})
            if "SPDX" in shown:
                shown.setdefault("AdditionalSPDXs", []).append(each.predicate)
            else:
                shown["SPDX"] = each.predicate
        elif each.type.startswith(_SLSA):
            found["Provenance"][each.platform] = {"SLSA": each.predicate}
    return {
        name: by_platform if several else next(iter(by_platform.values()), {})
        for name, by_platform in found.items()
    }


_SPDX, _SLSA = "https://spdx.dev/Document", "https://slsa.dev/provenance/"
CREATE = Command(
    "[SOURCE...]",
    run=_create,
    options=(
        BUILDER,
        many("--annotation", "Add annotation to the index (index:KEY=VALUE)", type="stringArray"),
        flag("--append", "Append to the existing index of the tag"),
        flag("--dry-run", "Show final image instead of pushing"),
        many("-f, --file", "Read sources from file", type="stringArray"),
        text("--metadata-file", "Write create result metadata to a file", type="file"),
        many("-p, --platform", "Filter specified platforms of target image", type="stringArray"),
        flag("--prefer-index", "Make an index of a single image too, instead of a copy", default=True),
        text("--progress", "Set type of progress output (auto, plain)", default="auto"),
        many("-t, --tag", "Set reference for new image", type="stringArray"),
    ),
    store=False,
    details="SOURCE is an image of a registry, or a digest in the repository of the tag.",
)
INSPECT = Command(
    "NAME",
    run=_inspect,
    options=(
        BUILDER,
        text("--format", "Format the output using the given Go template"),
        flag("--raw", "Show original, unformatted JSON manifest"),
    ),
    store=False,
    details="NAME is an image of a registry. Nothing is pulled.",
)
