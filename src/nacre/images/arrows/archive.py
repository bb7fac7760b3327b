"""Archives: `save` and `load`.

What `save` writes is an OCI image layout and a docker-archive at once, as docker has done since 25:

    blobs/sha256/<hex>   manifests, configs, layers
    index.json           OCI: manifests, with their names as annotations
    manifest.json        docker: config, names, layers as paths
    oci-layout

`load` reads that, every older docker-archive (layers as `<id>/layer.tar`, some of them symlinks; no
manifest.json but `repositories` and a chain of `<id>/json`) and plain OCI layouts, compressed or not.
Sources: OCI image-spec image-layout.md; moby image/spec v1.0 to v1.2; containerd's annotations.
"""

from __future__ import annotations

from ...ground.work.pipe import CHUNK
from ...words.digest import Digest
from ...words.errors import DigestMismatch, InvalidArchive, InvalidName, NotFound, Unsupported
from ...words.oci import (
    DOCKER_LAYER,
    OCI_LAYER,
    Descriptor,
    Manifest,
    Platform,
    decode_json,
    parse_document,
)
from ...words.progress import NullProgress, Progress
from ...words.reference import Reference
from ...words.value import Value
from ..layers.compressed import CompressedForms, is_here
from ..layers.ingest import add_layer, known_layer
from ..layers.receive import take
from ..model.edit import append_layer, new_config, with_fields, write_image
from ..model.image import Image, find
from ..places.archivesink import ArchiveSink, Held
from ..places.dockerarchive import config_of, json_of, listed, reference_of, tags_of, texts, verify
from ..places.layout import OciLayout, entry_names, path_of
from ..places.members import FolderMembers, Members, TarMembers, spool
from .attached import find_attached, take_attached
from .pull import choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...words.progress import Task
    from ..layers.compressed import Sources
    from ..model.schema import Document

_MAX_V1_LAYERS = 500
_WORDS = {"Pulling fs layer": "Waiting", "Downloading": "Loading layer", "Pull complete": "Loaded"}


class Loaded(Value):
    """One image out of an archive and the names it got (familiar form), () if none."""

    image: Image
    names: tuple[str, ...]


# ---- save


def save(
    store: Store, names: Sequence[str], write: Callable[[bytes], object], *,
    progress: Progress | None = None, sources: Sources | None = None,
) -> list[Image]:  # fmt: skip
    """Write images as one tar through `write`; equal images under equal names give equal bytes.

    A name without a tag stands for all its tags, an id for the image without a name, as with docker.
    A layer is written in the form that its manifest names: from its blob, made again, or from a repository
    that `sources` gives. Where none of these is to be had it goes out in another form that is here, a plain
    tar at worst; its manifest then says so, and `progress` gets a line. Raises NotFound before anything is
    written. Gives the images.
    """
    with store.leases.hold():
        parts = _Parts(store, progress or NullProgress(), sources)
        for name in names:
            parts.add(name)
        sink = ArchiveSink(write)
        for digest in sorted(parts.blobs):
            parts.emit(sink, digest)
        parts.tell(sink)
        sink.close()
        return list(parts.found.values())


class _Parts:
    """The content of an archive to be written."""

    def __init__(self, store: Store, progress: Progress, sources: Sources | None) -> None:
        self.store, self.progress, self.forms = store, progress, CompressedForms(store, sources)
        self.blobs: dict[Digest, bytes | Descriptor] = {}
        self.found: dict[Digest, Image] = {}
        self.images: dict[Digest, tuple[Descriptor, Manifest]] = {}
        self.names: dict[Digest, list[Reference]] = {}
        self.indexes: dict[str, Descriptor] = {}

    def add(self, text: str) -> None:
        """Take in what `text` names."""
        for image, reference in _named(self.store, text):
            names = self.names.setdefault(image.digest, [])
            if image.digest not in self.images:
                self.found[image.digest] = image
                self.images[image.digest] = self._complete(image)
            if reference is not None and reference not in names:
                names.append(reference)
                self._attach(image.digest, str(reference))

    def _attach(self, image: Digest, name: str) -> None:
        """What goes with a name; it speaks of the image as it is here."""
        attached = find_attached(self.store, name, image)
        if attached is None:
            return
        if self.images[image][0].digest != image:
            self.progress.line("attestations are left out: they speak of the image as it was")
            return
        self.indexes[name] = index = attached[0]
        self.blobs |= {each.digest: each for each in (index, *attached[1])}

    def _complete(self, image: Image) -> tuple[Descriptor, Manifest]:
        """The manifest to write: the stored one, or one that names the layers in the form they are here."""
        layers = tuple(self._available(layer.descriptor, layer.diff_id) for layer in image.layers)
        manifest, descriptor = image.manifest, image.descriptor
        data = self.store.blobs.read(descriptor.digest)
        if layers != manifest.layers:
            manifest = manifest.replace(layers=layers)
            data = manifest.encode()
            descriptor = Descriptor.of(data, descriptor.media_type)
            self.progress.line(f"image {image.id.short} is saved as {descriptor.digest}, not {image.digest}")
        self.blobs |= {layer.digest: layer for layer in layers}
        self.blobs |= {manifest.config.digest: manifest.config, descriptor.digest: data}
        return descriptor, manifest

    def _available(self, layer: Descriptor, diff_id: Digest) -> Descriptor:
        """The form in which a layer goes out. Raises NotFound."""
        others = [one for one in self.store.layers.blobs_of(diff_id) if one.digest != layer.digest]
        if is_here(self.store, layer) or self.forms.reaches(layer):
            return layer
        found = next((one for one in others if is_here(self.store, one)), None) or self._plain(layer, diff_id)
        if found is None:
            raise NotFound(f"layer {layer.digest} is not in the store in any compressed form")
        self.progress.line(f"layer {layer.digest.short} does not exist in this form: saved as {found.digest}")
        return found

    def _plain(self, layer: Descriptor, diff_id: Digest) -> Descriptor | None:
        """The tar itself, if its tree can give it, read once for its size."""
        if not self.store.trees.can_tar(diff_id):
            return None
        kind = DOCKER_LAYER if layer.media_type.startswith("application/vnd.docker.") else OCI_LAYER
        with self.store.trees.tar(diff_id) as file:
            return Descriptor(kind, diff_id, sum(map(len, iter(lambda: file.read(CHUNK), b""))))

    def emit(self, sink: ArchiveSink, digest: Digest) -> None:
        """Write one blob to the archive."""
        data = self.blobs[digest]
        if isinstance(data, bytes):
            sink.add(Descriptor("", digest, len(data)), Held(data))
            return
        with self.forms.open(data) as file:
            sink.add(data, file)

    def tell(self, sink: ArchiveSink) -> None:
        """Say what the images are, and their names."""
        for key, (descriptor, manifest) in self.images.items():
            data = self.blobs[descriptor.digest]
            assert isinstance(data, bytes)
            for name in [*map(str, self.names[key])] or [""]:
                sink.put_manifest(name, data, manifest.media_type)
        for name, index in self.indexes.items():
            sink.attach(name, index)


def _named(store: Store, text: str) -> list[tuple[Image, Reference | None]]:
    """Images and the names they go under in the archive."""
    image = None
    try:
        reference = Reference.parse(text)
    except InvalidName:
        return [(find(store, text), None)]
    if reference.digest is None and not text.endswith(":" + reference.tag):
        prefix = reference.name + ":"
        tags = [ref for ref in store.refs.list() if ref.name.startswith(prefix) and "@" not in ref.name]
        if tags:
            return [(Image.load(store, ref.descriptor), Reference.parse(ref.name)) for ref in tags]
    image = find(store, text)
    named = str(reference) in image.names or reference.digest is not None
    return [(image, reference if named else None)]


# ---- load


def load(
    store: Store, stream: Reader, *, platform: Platform | None = None, progress: Progress | None = None
) -> list[Loaded]:
    """Read every image of an archive and set its names; all forms, plain, gzip, zstd, xz or bzip2.

    The stream need not seek: it is spooled to a nameless file inside the store, which vanishes with this
    process. A file that can seek and is not compressed is read where it lies. Names are set last; of an
    archive that fails midway no name is set. Raises InvalidArchive, ContentError, StoreError.
    """
    with spool(stream, store.root) as file:
        return _load(store, TarMembers(file), platform, progress or NullProgress())


def load_folder(
    store: Store, path: str, *, platform: Platform | None = None, progress: Progress | None = None
) -> list[Loaded]:
    """As `load`, of a folder that holds the members (an OCI image layout, mostly)."""
    with FolderMembers(path) as members:
        return _load(store, members, platform, progress or NullProgress())


def _load(store: Store, members: Members, platform: Platform | None, progress: Progress) -> list[Loaded]:
    archive = _Archive(store, members, platform, progress)
    with store.leases.hold():
        found = archive.read()
        for image, names in found:
            for name in names:
                store.refs.set(str(name), image.descriptor, archive.indexes.get(str(name)))
    return [Loaded(image, tuple(name.familiar for name in names)) for image, names in found]


class _Loading:
    """A progress in the words of a load: what is common with a pull speaks of one."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.line = progress.line

    def task(self, key: str) -> Task:
        return _LoadingTask(self._progress.task(key))


class _LoadingTask:
    def __init__(self, task: Task) -> None:
        self._task = task
        self.advance = task.advance

    def phase(self, name: str, total: int | None = None) -> None:
        self._task.phase(_WORDS.get(name, name), total)

    def done(self, status: str) -> None:
        self._task.done(_WORDS.get(status, status))


class _Archive:
    """An archive being read into a store."""

    def __init__(self, store: Store, members: Members, platform: Platform | None, progress: Progress) -> None:
        self.store, self.members, self.platform = store, members, platform
        self.progress, self.layout = _Loading(progress), OciLayout(members, "", "archive")
        self._verified: set[tuple[str, Digest]] = set()
        self.indexes: dict[str, Descriptor] = {}
        """What says what is attached to an image, by the name that it has."""

    def read(self) -> list[tuple[Image, list[Reference]]]:
        """The images in whatever form they are here."""
        index, manifest = json_of(self.members, "index.json"), json_of(self.members, "manifest.json")
        if isinstance(index, dict) and index.get("manifests"):
            return self._layout(tags_of(manifest if isinstance(manifest, list) else []))
        if isinstance(manifest, list) and manifest:
            return [self._docker(item) for item in listed(manifest, "manifest.json")]
        if isinstance(manifest, dict):
            return [(self._taken(self._whole("manifest.json")), [])]
        repositories = json_of(self.members, "repositories")
        if isinstance(repositories, dict) and repositories:
            return self._repositories(repositories)
        if manifest is None and index is None:
            raise InvalidArchive(
                "this is not an image archive: it has neither manifest.json nor index.json",
                hint="use `nacre import` for a root file system",
            )
        raise InvalidArchive("the archive lists no images")

    def _whole(self, path: str) -> tuple[Descriptor, bytes]:
        data = self._need(path)
        document = parse_document(data)
        return Descriptor.of(data, document.media_type), data

    def _need(self, path: str) -> bytes:
        data = self.members.small(path)
        if data is None:
            raise InvalidArchive(f"the archive has no {path[:200]}")
        return data

    def _layout(self, tags: dict[str, list[Reference]]) -> list[tuple[Image, list[Reference]]]:
        """Every image of an OCI layout; entries of one manifest under several names come together.

        `tags` are the names that a manifest.json beside it gives, by the path of the config: some
        writers name the images only there.
        """
        found: dict[Digest, tuple[Image, list[Reference]]] = {}
        for entry in self._usable(self.layout.entries()):
            image, index = self._entry(entry)
            _, names = found.setdefault(image.digest, (image, []))
            named = entry_names(entry) or tags.get(path_of(image.id), [])
            names += [name for name in named if name not in names]
            self.indexes |= {str(name): index for name in named if index}
        if not found:
            raise InvalidArchive("the archive lists no images")
        return list(found.values())

    def _usable(self, entries: list[Descriptor]) -> list[Descriptor]:
        """Those whose content can be verified; an archive of nothing else raises Unsupported."""
        known = [entry for entry in entries if entry.digest.is_known]
        for entry in entries:
            if not entry.digest.is_known:
                why = f"the algorithm of its digest {entry.digest[:200]} is not registered"
                if not known:
                    raise Unsupported(f"an image of the archive cannot be verified: {why}")
                self.progress.line(f"Skipped an image that cannot be verified: {why}")
        return known

    def _entry(self, entry: Descriptor) -> tuple[Image, Descriptor | None]:
        """An image, and the index that says what is attached to it."""
        top, data = self.layout.listed(entry)
        name = Reference("archive", "image", "", entry.digest)
        image = self._taken(choose(self.layout, self.store, name, top, data, self.platform))
        return image, take_attached(self.layout, name, self.store, (top, data), image.digest)

    def _taken(self, document: Document) -> Image:
        return take(self.layout, self.store, document, self.progress, self.store.budget)[0]

    # docker-archive.

    def _docker(self, item: Any) -> tuple[Image, list[Reference]]:
        """One entry of manifest.json. Source: moby image/spec/v1.2.md."""
        data, config, rows = config_of(self.members, item)
        layers = [self._layer(path, diff_id)[0] for path, diff_id in rows]
        descriptor = write_image(self.store, config, layers, config_data=data)
        names = [reference_of(text) for text in texts(item.get("RepoTags"), "RepoTags")]
        return Image.load(self.store, descriptor), names

    def _layer(self, path: str, diff_id: Digest | None) -> tuple[Descriptor, Digest]:
        """Take in a layer file, plain or compressed; its blob is ours, so equal layers give equal blobs."""
        task = self.progress.task(diff_id.short if diff_id else path[:12])
        task.phase("Loading layer", self.members.size(path))
        try:
            layer = self._read(path, diff_id)
        except DigestMismatch as error:
            raise DigestMismatch(error.expected, error.actual, what=f"layer {path[:200]}") from None
        task.done("Loaded")
        return layer

    def _read(self, path: str, diff_id: Digest | None) -> tuple[Descriptor, Digest]:
        """A layer that the store has is read as well, once: the file may be another than the config says."""
        from ...grammars.codecs.stream import decompress

        known = known_layer(self.store, diff_id) if diff_id else None
        if known is None or diff_id is None:
            with self.members.open(path) as content:
                return add_layer(self.store, decompress(content), expected=diff_id)
        if (path, diff_id) not in self._verified:
            with self.members.open(path) as content:
                verify(decompress(content), diff_id)
            self._verified.add((path, diff_id))
        return known, diff_id

    # docker-archive before 1.10.

    def _repositories(self, repositories: dict[str, Any]) -> list[tuple[Image, list[Reference]]]:
        """`repositories` maps name → tag → id of the topmost layer. Source: moby image/spec/v1.md."""
        tops: dict[str, list[Reference]] = {}
        for name, tags in repositories.items():
            if not isinstance(tags, dict):
                raise InvalidArchive("repositories does not map names to tags")
            for tag, top in tags.items():
                if not isinstance(top, str):
                    raise InvalidArchive("repositories has an id that is not a string")
                tops.setdefault(top, []).append(reference_of(f"{name}:{tag}"))
        return [(self._v1(top), names) for top, names in tops.items()]

    def _v1(self, top: str) -> Image:
        chain = self._chain(top)
        newest = chain[-1]
        platform = Platform(str(newest.get("os") or "linux"), str(newest.get("architecture") or "amd64"))
        config, layers = new_config(platform), []
        for row in chain:
            descriptor, diff_id = self._layer(f"{row['id']}/layer.tar", None)
            layers.append(descriptor)
            config = append_layer(config, diff_id, _v1_command(row), **_v1_notes(row))
        run = newest.get("config") or newest.get("container_config") or {}
        config = with_fields(config, config=run)
        check = write_image(self.store, config, layers)
        return Image.load(self.store, check)

    def _chain(self, top: str) -> list[dict[str, Any]]:
        """The v1 documents from the lowest layer to `top`."""
        chain: list[dict[str, Any]] = []
        at: Any = top
        while at:
            if not isinstance(at, str) or not at.isalnum() or len(chain) >= _MAX_V1_LAYERS:
                raise InvalidArchive("the archive has no valid chain of layers")
            row = decode_json(self._need(f"{at}/json"), "layer json")
            if not isinstance(row, dict):
                raise InvalidArchive(f"{at}/json is not an object")
            chain.append({**row, "id": at})
            at = row.get("parent")
        return chain[::-1]


def _v1_command(row: dict[str, Any]) -> str:
    run = row.get("container_config") or {}
    command = run.get("Cmd") if isinstance(run, dict) else None
    return " ".join(str(word) for word in command) if isinstance(command, list) else ""


def _v1_notes(row: dict[str, Any]) -> dict[str, str]:
    return {key: str(row.get(key) or "") for key in ("created", "comment", "author")}
