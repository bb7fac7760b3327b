"""An image as an immutable view over a store."""

from __future__ import annotations

from ...words.digest import Digest
from ...words.errors import Conflict, InvalidDocument, InvalidName, NotFound, TooLarge, Unsupported
from ...words.oci import DOCKER_CONFIG, OCI_CONFIG, ImageConfig, Manifest, parse_document
from ...words.reference import Reference
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from ...stores.store import Store
    from ...stores.trees.reading.view import Found, TreeView
    from ...words.mount import Mount
    from ...words.oci import Descriptor, Platform

_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_NO_TYPES = ("", "application/octet-stream", "application/json", "text/html", "text/plain")
"""What registries and clients of 2015 and 2016 called a config that had been sent without a type. Source:
moby, distribution/registry.go, imageTypes.
"""
_LAYERS = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/octet-stream",
)
_HEX = frozenset("0123456789abcdef")


class Layer(Value):
    """One layer: its blob's descriptor, its diff id, the instruction that made it ("" if unknown)."""

    descriptor: Descriptor
    diff_id: Digest
    created_by: str = ""


class Image:
    """An image in a store: two documents and the layers they name. Holds nothing open.

    `descriptor` names the manifest. Two images are equal when their manifests are. Reading files needs
    neither a container nor a mount. An image stays readable only as long as something (a name, a
    lease) keeps it in the store.
    """

    def __init__(self, store: Store, descriptor: Descriptor, manifest: Manifest, config: ImageConfig) -> None:
        self.store = store
        self.descriptor = descriptor
        self.manifest = manifest
        self.config = config

    @classmethod
    def load(cls, store: Store, descriptor: Descriptor) -> Self:
        """The image whose manifest `descriptor` names. Raises NotFound, InvalidDocument, Unsupported."""
        manifest = parse_document(store.blobs.read(descriptor.digest), descriptor.media_type)
        if not isinstance(manifest, Manifest):
            raise Unsupported(f"{descriptor.digest} is an index of several images, not an image")
        check_image(manifest)
        config = ImageConfig.parse(store.blobs.read(manifest.config.digest))
        check_layers(manifest, config)
        return cls(store, descriptor, manifest, config)

    @property
    def id(self) -> Digest:
        """The image id: the digest of the config, as docker has it."""
        return self.manifest.config.digest

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.descriptor.digest

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The trees of the image, lowest first."""
        return self.config.diff_ids

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Lowest first, each with the instruction of the history that made it."""
        steps = [str(s.get("created_by") or "") for s in self.config.history if not s.get("empty_layer")]
        steps += [""] * len(self.diff_ids)
        rows = zip(self.manifest.layers, self.diff_ids, steps, strict=False)
        return tuple(Layer(*row) for row in rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means this image, canonical (`docker.io/library/app:1`), sorted."""
        return tuple(self.store.refs.names_of(self.digest))

    @property
    def size(self) -> int:
        """Bytes of content in all layers, unpacked: what docker shows as the size."""
        return sum(self.store.trees.rows.size(diff_id) for diff_id in self.diff_ids)

    def view(self) -> Mount:
        """The whole file system, read-only. Raises NotFound when a layer is missing."""
        return self.store.trees.view(self.diff_ids)

    def stat(self, path: str | bytes, *, follow: bool = True) -> Found:
        """What is at `path`, links followed inside the image. Raises NotFound."""
        found = self.store.trees.lookup(self.diff_ids, _relative(path), follow=follow)
        if found is None:
            raise NotFound(f"no {_shown(path)} in image {self.id.short}")
        return found

    def read(self, path: str | bytes, limit: int = 1 << 30) -> bytes:
        """The bytes of a file, at most `limit`. Raises NotFound (also for what is no file), TooLarge."""
        found = self.stat(path)
        if found.size > limit:
            raise TooLarge(f"{_shown(path)} has {found.size} bytes, more than the {limit} allowed")
        with found.open() as file:
            return b"".join(iter(lambda: file.read(1 << 20), b""))

    def walk(self, path: str | bytes = b"/") -> Iterator[Found]:
        """What is at `path` and everything below, parents first, names sorted, links not followed."""
        with self.store.trees.open(self.diff_ids) as view:
            found = view.lookup(_relative(path))
            if found is not None:
                yield from _walk(view, found)
            elif self.diff_ids or _relative(path):  # an image without layers is empty
                raise NotFound(f"no {_shown(path)} in image {self.id.short}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return self.digest == other.digest and self.store is other.store

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Image({self.id.short}, {len(self.diff_ids)} layers, {self.config.platform})"


def _walk(view: TreeView, top: Found) -> Iterator[Found]:
    waiting = [top]
    while waiting:
        found = waiting.pop()
        yield found
        if found.kind == "dir":
            base = found.path + b"/" if found.path else b""
            inside = (view.lookup(base + name, follow=False) for name in reversed(view.names(found.path)))
            waiting += [entry for entry in inside if entry is not None]


def check_image(manifest: Manifest) -> None:
    """Raises Unsupported when a manifest is that of another kind of artifact."""
    kind = manifest.artifact_type or manifest.config.media_type
    if not _is_image(manifest):
        raise Unsupported(f"this is not a container image but an artifact of type {kind}")
    for layer in manifest.layers:
        if layer.media_type.endswith("+encrypted"):
            raise Unsupported(f"layer {layer.digest.short} is encrypted, which nacre cannot read")


def _is_image(manifest: Manifest) -> bool:
    """By the type of the config; where that says nothing the layers tell, and reading the config will."""
    config = manifest.config.media_type.partition(";")[0].strip().lower()
    if config in _CONFIGS:
        return True
    layers = [layer.media_type for layer in manifest.layers]
    return config in _NO_TYPES and bool(layers) and all(kind.startswith(_LAYERS) for kind in layers)


def check_layers(manifest: Manifest, config: ImageConfig) -> None:
    """Raises InvalidDocument when the layers of the manifest and the diff ids of the config do not fit."""
    layers, diff_ids = len(manifest.layers), len(config.diff_ids)
    if layers != diff_ids:
        raise InvalidDocument(f"manifest has {layers} layers, but its config lists {diff_ids} diff ids")


def find(store: Store, text: str, platform: Platform | None = None) -> Image:
    """The image that `text` names: a reference, an id or the beginning of one, a digest.

    With `platform` the one of the same index that is for it. A name wins over an id, as with docker.
    Raises NotFound (`No such image: x`), InvalidName, and Conflict when the beginning of an id fits
    several images.
    """
    descriptor = lookup(store, text)
    if descriptor is None:
        raise NotFound(f"No such image: {_complete(text)}")
    image = Image.load(store, descriptor)
    if platform is None:
        return image
    from .platforms import suited

    return suited(image, text, platform)


def lookup(store: Store, text: str) -> Descriptor | None:
    """The manifest that `text` names, None if there is none; otherwise as `find`."""
    bare = text.removeprefix("sha256:")
    if _HEX.issuperset(bare) and bare and (bare != text or len(bare) == 64):
        return _by_id(store, bare)
    try:
        found = by_name(store, Reference.parse(text))
    except InvalidName:
        if not _is_prefix(text):
            raise
        found = None
    return found or (_by_id(store, text) if _is_prefix(text) else None)


def index_of(store: Store, name: str) -> Descriptor | None:
    """The index that goes with a name; None for an id, too."""
    try:
        return store.refs.index(str(Reference.parse(name)))
    except InvalidName:
        return None


def by_name(store: Store, reference: Reference) -> Descriptor | None:
    """What a reference means: its digest if it has one, else its tag."""
    if reference.digest is None:
        return store.refs.get(str(reference))
    named = store.refs.get(f"{reference.name}@{reference.digest}")
    if named is not None:
        return named
    prefix = reference.name + ":"
    for ref in store.refs.list():
        if ref.descriptor.digest == reference.digest and ref.name.startswith(prefix):
            return ref.descriptor
    found = store.refs.of_digest(reference.name, reference.digest)
    kept = any(name.startswith(prefix) for name in store.refs.names_of(found.digest)) if found else False
    return found if kept else None


def repo_digests(image: Image) -> list[str]:
    """`name@digest` for each repository that is known to have the image: what a pull or a push printed.

    Of an index that is its digest, by which other machines get their platform, as docker has it.
    """
    store, found = image.store, set()
    known = set(store.layers.sources(image.id))
    for name in map(Reference.parse, image.names):
        digests = store.refs.digests(name.name, image.digest)
        if not digests and name.name in known:
            digests = [image.digest]
        digests += [name.digest] if name.digest else []
        found |= {f"{name.familiar_name}@{digest}" for digest in digests}
    return sorted(found)


def _is_prefix(text: str) -> bool:
    return 0 < len(text) <= 64 and _HEX.issuperset(text)


def _by_id(store: Store, prefix: str) -> Descriptor | None:
    """By the beginning of a config digest or of a manifest digest, in hexadecimal digits."""
    found: dict[Digest, Descriptor] = {}
    for descriptor in store.refs.images():
        if descriptor.digest.hex.startswith(prefix):
            found[descriptor.digest] = descriptor
            continue
        identity = image_id(store, descriptor)
        if identity is not None and identity.hex.startswith(prefix):
            found.setdefault(identity, descriptor)
    if len(found) > 1:
        raise Conflict(f"image id {prefix!r} is ambiguous: it fits {len(found)} images")
    return next(iter(found.values()), None)


def image_id(store: Store, descriptor: Descriptor) -> Digest | None:
    """The config digest of a manifest in the store; None for what is no image or is damaged."""
    try:
        document = parse_document(store.blobs.read(descriptor.digest), descriptor.media_type)
    except (NotFound, InvalidDocument):
        return None
    return document.config.digest if isinstance(document, Manifest) else None


def _complete(text: str) -> str:
    """A name as docker completes it in messages: with the tag."""
    try:
        return Reference.parse(text).familiar
    except InvalidName:
        return text


def _relative(path: str | bytes) -> bytes:
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    return raw.strip(b"/")


def _shown(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode("utf-8", "replace")
