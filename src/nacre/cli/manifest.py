"""`nacre manifest`: multi-platform images put together, in docker's words."""

from __future__ import annotations

from ..words.errors import NotFound
from ..words.reference import Reference
from .options import Command, choice, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.arrows.manifestlist import ManifestLists
    from ..words.oci import Descriptor
    from .context import Context
    from .options import Args


def _trust(context: Context, args: Args) -> None:
    """With --insecure the registries named may speak plain HTTP."""
    from ..images.places.place import Place

    if "insecure" in args.given:
        places = [Place.parse(name) for name in args.positionals]
        context.insecure |= {place.named().registry for place in places if place.transport == "docker"}


def _create(context: Context, args: Args) -> int:
    _trust(context, args)
    reference, images = Reference.parse(args.positionals[0]), args.positionals[1:]
    context.engine.manifest_create(reference, images, amend=args.amend)
    context.print(f"Created manifest list {reference}")
    return 0


def _annotate(context: Context, args: Args) -> int:
    name, image = args.positionals
    features = [part for value in args.os_features for part in value.split(",") if part]
    context.engine.manifest_annotate(
        name, image, os=args.os, architecture=args.arch, variant=args.variant, os_version=args.os_version,
        os_features=features,
    )  # fmt: skip
    return 0


def _push(context: Context, args: Args) -> int:
    _trust(context, args)
    reference = Reference.parse(args.positionals[0])
    with context.progress(quiet=args.quiet, form=args.progress) as progress:
        done = context.engine.manifest_push(reference, purge=args.purge, progress=progress)
        progress.result(
            Name=str(reference), Digest=done.digest, Moved=done.moved, Mounted=done.mounted,
            Existing=done.existing,
        )  # fmt: skip
    if args.progress != "json":
        for repository, digest in done.images if not args.quiet else ():
            context.print(f"Pushed ref {repository}@{digest} with digest: {digest}")
        context.print(done.digest)
    return 0


def _rm(context: Context, args: Args) -> int:
    code = 0
    for name in args.positionals:
        try:
            context.engine.manifest_remove(name)
        except NotFound as error:
            context.warn_of(error)
            code = 1
    return code


def _inspect(context: Context, args: Args) -> int:
    from ..engine.transfers import lists

    _trust(context, args)
    found, name = lists(context.engine), args.positionals[0]
    if len(args.positionals) == 2:
        _entry(context, found, name, args.positionals[1], args.verbose)
        return 0
    try:
        entries = found.get(Reference.parse(name))
    except NotFound:
        _elsewhere(context, found, name, args.verbose)
        return 0
    if args.verbose:
        from ..images.places.place import Place

        rows = [
            _verbose(e.ref, e.descriptor, found.manifest(Place.parse(e.place), e.descriptor.digest)[1])
            for e in entries
        ]
        _print(context, rows, "\t")
    else:
        from ..images.arrows.manifestlist import encoded

        context.print(encoded([entry.descriptor for entry in entries])[0].decode())
    return 0


def _entry(context: Context, found: ManifestLists, name: str, image: str, verbose: bool) -> None:
    """One image of a list that is here."""
    from ..images.places.place import Place

    ref = Place.parse(image).name
    entry = next((each for each in found.get(Reference.parse(name)) if each.ref in (ref, image)), None)
    if entry is None:
        raise NotFound(f"no such manifest: {ref}")
    data = found.manifest(Place.parse(entry.place), entry.descriptor.digest)[1]
    _one(context, entry.ref, entry.descriptor, data, verbose)


def _elsewhere(context: Context, found: ManifestLists, name: str, verbose: bool) -> None:
    """An image or an index of the store or of a registry."""
    from ..images.arrows.manifestlist import exact_entries
    from ..words.oci import Index, parse_document

    place = found.place(name)
    try:
        descriptor, data = found.manifest(place)
    except NotFound:
        raise NotFound(f"no such manifest: {place.name or name}") from None
    document = parse_document(data, descriptor.media_type)
    if not isinstance(document, Index):
        _one(context, place.name or name, descriptor, data, verbose)
    elif verbose:
        ref = place.name.partition("@")[0]
        rows = [
            _verbose(f"{ref}@{entry.digest}", entry, found.manifest(place, entry.digest)[1])
            for entry in exact_entries(document, data)
        ]
        _print(context, rows, "\t")
    else:
        from ..words.oci import decode_json

        _print(context, decode_json(data, "manifest"), 3)


def _one(context: Context, ref: str, descriptor: Descriptor, data: bytes, verbose: bool) -> None:
    from ..words.oci import decode_json

    _print(context, _verbose(ref, descriptor, data) if verbose else decode_json(data, "manifest"), "\t")


def _verbose(ref: str, descriptor: Descriptor, data: bytes) -> dict[str, Any]:
    from base64 import b64encode

    from ..images.arrows.manifestlist import platform_fields
    from ..words.oci import DOCKER_MANIFEST, decode_json

    fields: dict[str, Any] = {
        "mediaType": descriptor.media_type, "digest": str(descriptor.digest), "size": descriptor.size,
    }  # fmt: skip
    if descriptor.platform:
        fields["platform"] = platform_fields(descriptor.platform)
    kind = "SchemaV2Manifest" if descriptor.media_type == DOCKER_MANIFEST else "OCIManifest"
    raw = b64encode(data).decode()
    return {"Ref": ref, "Descriptor": fields, "Raw": raw, kind: decode_json(data, "manifest")}


def _print(context: Context, value: Any, indent: str | int) -> None:
    import json

    context.print(json.dumps(value, indent=indent, ensure_ascii=False))


_INSECURE = flag("--insecure", "Allow communication with an insecure registry")
_DETAILS = "MANIFEST is an image of the store or of a registry, or any place of `nacre copy`."

CREATE = Command(
    "MANIFEST_LIST MANIFEST [MANIFEST...]",
    run=_create,
    options=(flag("-a, --amend", "Amend an existing manifest list"), _INSECURE),
    details=_DETAILS,
)
ANNOTATE = Command(
    "MANIFEST_LIST MANIFEST",
    run=_annotate,
    options=(
        text("--arch", "Set architecture"),
        text("--os", "Set operating system"),
        many("--os-features", "Set operating system feature", type="strings"),
        text("--os-version", "Set operating system version"),
        text("--variant", "Set architecture variant"),
    ),
)
INSPECT = Command(
    "[MANIFEST_LIST] MANIFEST",
    run=_inspect,
    options=(
        _INSECURE,
        flag("-v, --verbose", "Output additional info including layers and platform"),
    ),
    details="A local list takes precedence over images of the store and of registries.",
)
PUSH = Command(
    "MANIFEST_LIST",
    run=_push,
    options=(
        _INSECURE,
        choice("--progress", "Set type of progress output", ("auto", "plain", "json"), default="auto"),
        flag("-p, --purge", "Remove the local manifest list after push"),
        flag("-q, --quiet", "Only print the digest"),
    ),
    details="The images are pushed to the repository of the list first.",
)
RM = Command("MANIFEST_LIST [MANIFEST_LIST...]", run=_rm)
