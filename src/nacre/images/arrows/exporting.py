"""Built images as an output wants them: in another compression, with annotations, as one document.

    image ──► layers in the compression ──► manifest with annotations, of the kind wanted ──┐
                                      predicates ──► manifest with what they say of that  ◄──┤
                                                             one platform: the document  ◄──┤
                                       several, or attestations: an index that names them ◄─┘

What is made lies in the store while the output is written; an image that nothing changes stays itself.
"""

from __future__ import annotations

from contextlib import contextmanager

from ...words.oci import (
    DOCKER,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from ...words.progress import NullProgress, Progress
from ...words.value import Value
from ..layers.compressed import CompressedForms
from ..layers.repack import Repacker, manifest_of
from ..layers.sender import task_of
from ..model.schema import converted
from ..places.local import StoreSink
from .manifestlist import exactly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...stores.store import Store
    from ...words.oci import Platform
    from ..attestations.wanted import Predicate
    from ..layers.compressed import Sources
    from ..layers.repack import Packing
    from ..model.image import Image

MANIFEST, INDEX, MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR = LEVELS = (
    "manifest", "index", "manifest-descriptor", "index-descriptor",
)  # fmt: skip


class Annotation(Value):
    """One annotation: on what (`LEVELS`), of which platform (None: all)."""

    key: str
    value: str
    level: str = MANIFEST
    platform: Platform | None = None


class ExportForm(Value):
    """How images are written: the kind of manifest (`form`, "" as they are), compression, annotations.

    `attestations` is what is attached to each image, in their order, as a referrer if `is_artifact`, and
    `names` how it calls them.
    """

    form: str = ""
    packing: Packing | None = None
    annotations: tuple[Annotation, ...] = ()
    attestations: tuple[tuple[Predicate, ...], ...] = ()
    names: tuple[str, ...] = ()
    is_artifact: bool = True

    def notes(self, level: str, platform: Platform | None = None) -> tuple[tuple[str, str], ...]:
        """The annotations of one thing, sorted."""
        wanted = [
            note for note in self.annotations if note.level == level and note.platform in (None, platform)
        ]
        return tuple(sorted({note.key: note.value for note in wanted}.items()))


class ExportedImages(Value):
    """What an output names: a manifest, or with `is_index` an index, and the images in it, in their order.

    `attested` has an index for each of them alone with what is attached to it, None where nothing is.
    """

    descriptor: Descriptor
    images: tuple[Descriptor, ...]
    is_index: bool = False
    attested: tuple[Descriptor | None, ...] = ()


@contextmanager
def exported(
    store: Store, images: Sequence[Image], form: ExportForm, *,
    progress: Progress | None = None, sources: Sources | None = None,
) -> Iterator[ExportedImages]:  # fmt: skip
    """The document of the images, all of it in the store until the block ends; a lease must be held.

    Annotations of an index count only where there is one. Raises Unsupported, NotFound.
    """
    exporter = _Exporter(store, form, progress or NullProgress(), CompressedForms(store, sources))
    try:
        made = tuple(exporter.image(image) for image in images)
        attached = exporter.attestations(made)
        entries = (*made, *(each for each in attached if each is not None))
        top = made[0] if len(entries) == 1 else exporter.index(entries)
        notes = form.notes(INDEX_DESCRIPTOR) if len(entries) > 1 else made[0].annotations
        alone = tuple(
            exporter.index((image, said)) if said else None
            for image, said in zip(made, attached, strict=True)
        )
        yield ExportedImages(top.replace(annotations=notes), made, len(entries) > 1, alone)
    finally:
        exporter.tidy()


class _Exporter:
    """Makes the documents of one output."""

    def __init__(self, store: Store, form: ExportForm, progress: Progress, forms: CompressedForms) -> None:
        self._store, self._form, self._progress, self._forms = store, form, progress, forms
        self._repackers: list[Repacker] = []

    def image(self, image: Image) -> Descriptor:
        """The manifest of an image, with its platform and the annotations of its descriptor."""
        platform = exactly(image.config.raw)
        manifest = self._packed(image) if self._form.packing else image.manifest
        notes = self._form.notes(MANIFEST, image.config.platform)
        if notes:
            manifest = manifest.replace(annotations=notes)
        made = image.descriptor if manifest == image.manifest else self._stored(manifest)
        made = self._converted(made)
        return made.replace(
            platform=platform, annotations=self._form.notes(MANIFEST_DESCRIPTOR, image.config.platform)
        )

    def _packed(self, image: Image) -> Manifest:
        assert self._form.packing is not None
        repacker = Repacker(
            self._store, self._form.packing, StoreSink(self._store), self._forms, image.manifest
        )
        self._repackers.append(repacker)
        packed = {}
        for layer in image.layers:
            task = task_of(self._progress, layer.descriptor.digest, "Preparing")
            packed[layer.descriptor.digest] = repacker.layer(layer.descriptor, layer.diff_id, task)
            task.done("Compressed")
        return manifest_of(image.manifest, self._form.packing, packed)

    def _stored(self, document: Manifest | Index) -> Descriptor:
        data = document.encode()
        self._store.blobs.add(data)
        return Descriptor.of(data, document.media_type)

    def _converted(self, made: Descriptor) -> Descriptor:
        wanted = {"": made.media_type, DOCKER: DOCKER_MANIFEST}.get(self._form.form, OCI_MANIFEST)
        if made.media_type == wanted:
            return made
        descriptor, data = converted((made, self._store.blobs.read(made.digest)), self._form.form)
        self._store.blobs.add(data)
        return descriptor

    def attestations(self, images: Sequence[Descriptor]) -> list[Descriptor | None]:
        """A manifest for each image of which something is said."""
        if not any(self._form.attestations):
            return [None] * len(images)
        pairs = zip(images, self._form.attestations, strict=True)
        return [self._attached(image, predicates) if predicates else None for image, predicates in pairs]

    def _attached(self, image: Descriptor, predicates: Sequence[Predicate]) -> Descriptor:
        from ..attestations.attached import attached

        bare, form = image.replace(annotations=()), self._form
        made, contents = attached(bare, form.names, predicates, is_artifact=form.is_artifact)
        for data in contents:
            self._store.blobs.add(data)
        return made

    def index(self, images: tuple[Descriptor, ...]) -> Descriptor:
        """The index of them."""
        is_docker = all(image.media_type == DOCKER_MANIFEST for image in images)
        return self._stored(Index(DOCKER_INDEX if is_docker else OCI_INDEX, images, self._form.notes(INDEX)))

    def tidy(self) -> None:
        """Drop what was only made to be sent."""
        for repacker in self._repackers:
            repacker.tidy()
