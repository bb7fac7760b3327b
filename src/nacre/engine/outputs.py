"""What becomes of the images of a build: named here, pushed, written as archives or as files."""

from __future__ import annotations

import os

from ..words.arguments import checked
from ..words.errors import Unsupported, UsageError
from ..words.oci import DOCKER, form_of
from ..words.reference import Reference
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from ..images.arrows.exporting import Annotation, ExportedImages, ExportForm
    from ..images.attestations.attestationfiles import AttestationFile
    from ..images.attestations.wanted import Predicate
    from ..images.model.image import Image
    from ..images.model.source import Sink
    from ..stores.store import Store
    from ..words.digest import Digest
    from ..words.oci import Descriptor, Platform
    from ..words.progress import Progress
    from . import Engine
    from .archives import Target

IMAGE, OCI, DOCKER_ARCHIVE, LOCAL, TAR, CACHE_ONLY = KINDS = (
    "image", "oci", "docker", "local", "tar", "cacheonly",
)  # fmt: skip


class BuildOutput(Value):
    """One output of a build, in the words of `docker buildx build --output`.

    `kind` image (named in the store, and with `push` in registries; `by_digest` without a tag there, without
    `stores` not named here), oci or docker (an archive at `path`; with `is_folder` an OCI layout), local (a
    folder), tar, or cacheonly. `splits` puts the files of each platform into a folder of its own (None: of
    several). `format`, `compression`, `level` and `force` as for `Engine.push`. `prefix` comes before the
    names of
    files with attestations; without `is_artifact` attestations are attached as images, in the old form.
    """

    kind: str = IMAGE
    path: str = ""
    names: tuple[str, ...] = ()
    push: bool = False
    by_digest: bool = False
    stores: bool = True
    is_folder: bool = False
    splits: bool | None = None
    format: str = ""
    compression: str = ""
    level: int | None = None
    force: bool = False
    annotations: tuple[Annotation, ...] = ()
    prefix: str = ""
    is_artifact: bool = True

    @property
    def changes(self) -> bool:
        """Whether the image is another one than the build's own."""
        return bool(self.format or self.compression or self.annotations)

    def given(self, attestations: Sequence[Sequence[Predicate]]) -> tuple[tuple[Predicate, ...], ...]:
        """Those that this output takes, by image."""
        if self.kind not in (LOCAL, TAR):
            return tuple(map(tuple, attestations))
        return tuple(tuple(one for one in each if not one.inline_only) for each in attestations)

    def check(self, count: int, *, attested: bool = False) -> None:
        """Raises UsageError, Unsupported for what cannot be done with the images of so many platforms.

        `attested`: something is attached to them.
        """
        if self.kind not in KINDS:
            raise UsageError(f"unknown type of output {self.kind[:80]!r}", hint=f"use {', '.join(KINDS)}")
        if self.push and not self.names:
            raise UsageError("tag is needed when pushing to registry", hint="give the image a name with -t")
        if self.kind == DOCKER_ARCHIVE and count > 1:
            raise Unsupported("a docker archive holds one platform of an image", hint="use type=oci")
        if self.kind == TAR and count > 1 and self.splits is False:
            raise Unsupported("a tar of several platforms needs a folder for each", hint="use type=local")
        levels = {note.level for note in self.annotations}
        if levels and self.format == DOCKER:
            raise UsageError("Docker manifests have no annotations", hint="choose OCI manifests")
        if count == 1 and not attested and any(level.startswith("index") for level in levels):
            raise UsageError("annotations of an index need a build for several platforms")
        if attested and self.kind == DOCKER_ARCHIVE:
            raise Unsupported("a docker archive holds no attestations", hint="use type=oci")
        if attested and self.kind in (IMAGE, OCI) and self.format == DOCKER:
            raise UsageError("Docker manifests have no attestations", hint="choose OCI manifests")


class OutputResult(Value):
    """What an output has made: the document that names it (None for files), and its names."""

    descriptor: Descriptor | None = None
    names: tuple[str, ...] = ()


class Outputs:
    """The outputs of builds, `engine.outputs`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @checked
    def write(
        self, images: Sequence[Image], output: BuildOutput, *, target: Target = "",
        attestations: Sequence[Sequence[Predicate]] = (), progress: Progress | None = None,
    ) -> OutputResult:  # fmt: skip
        """Do what an output asks for with the images of a build, one for each platform.

        `target` is the file of oci, docker and tar, if it is not at `output.path`; `attestations` are
        those of the build (`Built.attestations`), by image. Raises UsageError,
        Unsupported, StoreError, RegistryError, NotFound.
        """
        from ..images.model.image import Image
        from .archives import Written
        from .piped import piped

        given = output.given(attestations)
        output.check(len(images), attested=any(given))
        found, inside = [image.descriptor for image in images], self._engine.inside

        def work(store: Store, target: Target) -> OutputResult:
            with store.leases.hold():
                here = [Image.load(store, descriptor) for descriptor in found]
                writer = _OutputWriter(self._engine, store, here, output, progress)
                writer.attestations = given
                return writer.write(target)

        if isinstance(target, str | os.PathLike):
            return inside(lambda store: work(store, target or output.path))
        return piped(
            target.write,
            lambda give, meanwhile: inside(lambda store: work(store, Written(give)), meanwhile),
        )

    @checked
    def forget(self, images: Sequence[Image]) -> None:
        """Do not keep images of a build for their own sake, unless they have names."""

        def work(store: Store) -> None:
            for image in images:
                store.refs.forget(image.digest, named=False)

        self._engine.inside(work)


class _OutputWriter:
    """One output being written."""

    attestations: tuple[tuple[Predicate, ...], ...] = ()

    def __init__(
        self, engine: Engine, store: Store, images: Sequence[Image], output: BuildOutput,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self._engine, self._store, self._output, self._progress = engine, store, output, progress
        self._images = images
        self._names = tuple(map(Reference.parse, output.names))

    def write(self, target: Target) -> OutputResult:
        """To `target`, where the output has one."""
        kind = self._output.kind
        if kind == CACHE_ONLY:
            return OutputResult()
        if kind in (LOCAL, TAR):
            self._files(target)
            return OutputResult()
        with self._exported() as made:
            if kind == IMAGE:
                self._image(made)
            elif self._output.is_folder:
                self._layout(made, str(target))
            else:
                self._archive(made, target)
            return OutputResult(made.descriptor, tuple(map(str, self._names)))

    # files

    def _folders(self) -> list[tuple[str, Image]]:
        """Where the files of each platform go, "" for no folder of its own."""
        splits = self._output.splits
        if splits is None:
            splits = len(self._images) > 1
        return [(_folder_of(image) if splits else "", image) for image in self._images]

    def _files(self, target: Target) -> None:
        from ..images.layers.export import write_folder, write_tar
        from .archives import written

        folders = self._folders()
        files = self._attestation_files(folders) if any(self.attestations) else []
        if self._output.kind == LOCAL:
            for folder, image in folders:
                write_folder(image, os.path.join(str(target), folder))
            for file in files:
                file.write(str(target))
            return
        with written(target) as write:
            write_tar(folders, write, [file.member() for file in files])

    def _attestation_files(self, folders: Sequence[tuple[str, Image]]) -> list[AttestationFile]:
        from ..images.attestations.attestationfiles import attestation_files

        marks = ["" if folder or len(folders) == 1 else _folder_of(image) for folder, image in folders]
        return [
            file
            for (folder, image), mark, predicates in zip(folders, marks, self.attestations, strict=True)
            for file in attestation_files(image, predicates, (folder, self._output.prefix, mark))
        ]

    # images

    def _exported(self) -> AbstractContextManager[ExportedImages]:
        from ..images.arrows.exporting import exported
        from .transfers import repository

        return exported(
            self._store, self._images, self._form(), progress=self._progress,
            sources=lambda name: repository(self._engine, name),
        )  # fmt: skip

    def _form(self) -> ExportForm:
        from ..images.arrows.exporting import ExportForm
        from ..images.layers.repack import Packing

        output = self._output
        packing = None
        if output.compression:
            packing = Packing(output.compression, output.level, output.force or output.level is not None)
        return ExportForm(
            form_of(output.format), packing, output.annotations, self.attestations,
            tuple(map(str, self._names)), output.is_artifact,
        )  # fmt: skip

    def _image(self, made: ExportedImages) -> None:
        """Name it here, then send it."""
        if self._output.stores:
            self._name(*self._named(made))
        if self._output.push:
            for reference in self._names:
                self._push(made, reference)

    def _named(self, made: ExportedImages) -> tuple[Descriptor, Descriptor | None]:
        """The image that names mean here, and the index that says what is attached to it."""
        from ..images.model.platforms import runnable

        at = list(self._images).index(runnable(self._images))
        return made.images[at].replace(platform=None, annotations=()), made.attested[at]

    def _name(self, descriptor: Descriptor, index: Descriptor | None) -> None:
        from ..images.model.image import Image

        for reference in self._names:
            refs, name = self._store.refs, str(reference)
            if (refs.get(name), refs.index(name)) != (descriptor, index):
                refs.set(name, descriptor, index)
            self._tell(f"naming to {reference}")
            self._engine.tell_image("tag", Image.load(self._store, descriptor), reference)
        if not self._names:
            self._store.refs.remember(descriptor)

    def _push(self, made: ExportedImages, reference: Reference) -> None:
        from .transfers import push

        for image in made.images:
            bare = image.replace(platform=None, annotations=())
            by_digest = made.is_index or self._output.by_digest
            target = reference.replace(tag="", digest=image.digest) if by_digest else reference
            digest = push(self._engine, target, bare, progress=self._progress).digest
        if made.is_index:
            digest = self._push_index(made, reference)
        shown = reference.familiar_name if self._output.by_digest else reference.familiar
        self._tell(f"pushed {shown} digest: {digest}")
        self._engine.tell("image", "push", reference.familiar, reference.familiar_name)

    def _push_index(self, made: ExportedImages, reference: Reference) -> Digest:
        index = made.descriptor
        sink: Sink = self._engine.client.repository(reference)
        target = index.digest if self._output.by_digest else reference.target
        if any(self.attestations):
            self._copy(made, sink, [target])
        else:
            sink.put_manifest(target, self._store.blobs.read(index.digest), index.media_type)
        for image in made.images:
            self._store.refs.add_digest(sink.where, index.digest, image.digest)
        return index.digest

    def _tell(self, line: str) -> None:
        if self._progress is not None:
            self._progress.line(line)

    # archives

    def _archive(self, made: ExportedImages, target: Target) -> None:
        from ..images.places.archivesink import ArchiveSink
        from .archives import written

        docker = self._output.kind == DOCKER_ARCHIVE
        with written(target) as write:
            sink = ArchiveSink(write, docker=docker, notes=made.descriptor.annotations, full_names=True)
            self._copy(made, sink)
            sink.close()

    def _layout(self, made: ExportedImages, folder: str) -> None:
        from ..images.places.layout import LayoutFolder

        sink = LayoutFolder(folder, notes=made.descriptor.annotations, full_names=True)
        try:
            self._copy(made, sink)
        finally:
            sink.close()

    def _copy(self, made: ExportedImages, sink: Sink, names: Sequence[str] = ()) -> None:
        """Under `names`, without any under those of the output."""
        from ..images.arrows.copying import Choice, copy
        from ..images.places.local import StoreSource
        from ..images.places.place import ANY
        from .transfers import budget, repository

        source = StoreSource(self._store, "", lambda name: repository(self._engine, name))
        names = names or [str(name) for name in self._names] or [""]
        choice = Choice(all=True, budget=budget(self._engine), more=tuple(names[1:]))
        copy(
            source, ANY.replace(tag="", digest=made.descriptor.digest), sink, names[0], choice, self._progress
        )


def _folder_of(image: Image) -> str:
    """The name of its folder, `linux_arm_v7`."""
    platform: Platform = image.config.platform
    return str(platform).replace("/", "_")
