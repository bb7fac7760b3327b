"""COPY, ADD and WORKDIR: files from a source become a layer, straight as a tar, without a mount."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

from ...grammars.tar.write import TarWriter
from ...ground.work.pipe import Pipe, ProgressReader
from ...ground.work.threads import Worker, running
from ...images.layers.ingest import EMPTY_DIFF_ID, add_layer
from ...words.digest import Digest
from .downloads import unpacks
from .items import CopyItem, raw
from .layers import Layers
from .owner import find_owner
from .place import CopyOptions, LayerTarget
from .select import Selection
from .unpack import Archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...images.dockerfile.fold import CopyAction, WorkdirAction
    from ...stores.store import Store
    from ...words.oci import Descriptor
    from ...words.progress import Task
    from .items import CopySource
    from .report import StepReport

    Layer = tuple[Descriptor, Digest]

_PIECE = 1 << 18
_MUCH = 64 << 20
"""Bytes from which on it is told how far a copy is."""
_SECOND = 1_000_000_000


class LayerCopier:
    """Makes layers on top of others.

    `time_ns` is for folders without a time, `clamp` in seconds as in `CopyOptions`; `known` says that an
    equal layer was made before. `folder` has room to unpack archives.
    """

    def __init__(
        self, store: Store, diff_ids: Sequence[Digest], folder: str, *, time_ns: int, clamp: int | None,
        known: bool = False,
    ) -> None:  # fmt: skip
        self._store, self._diff_ids, self._folder, self._known = store, diff_ids, folder, known
        clamp_ns = None if clamp is None else clamp * _SECOND
        self._terms = CopyOptions(time_ns=time_ns // _SECOND * _SECOND, clamp_ns=clamp_ns)

    def copy(
        self, action: CopyAction, source: CopySource, chosen: Sequence[Selection], report: StepReport
    ) -> Layer | None:
        """The layer of a COPY or ADD, None when it changes nothing. Raises UsageError, ContentError.

        `report` hears how far it is when there is much to copy.
        """
        with Layers(self._store, self._diff_ids, "the image") as image:
            owner = find_owner(action.chown, image.read)
            lower = _nothing if action.link else image.lookup
            target = LayerTarget(lower, self._terms.replace(owner=owner, mode=action.mode))
            archives: list[Archive] = []
            try:
                self._place(action, source, chosen, target, archives)
                return self._write(target, copying(report, chosen))
            finally:
                for archive in archives:
                    archive.close()

    def _place(
        self, action: CopyAction, source: CopySource, chosen: Sequence[Selection], target: LayerTarget,
        archives: list[Archive],
    ) -> None:  # fmt: skip
        destination = raw(action.destination)
        for one in chosen:
            top = one.files[0][1] if unpacks(action, one) else None
            archive = Archive.of(source, top, self._folder) if top else None
            if archive is not None:
                archives.append(archive)
                archive.put(target, destination)
            else:
                target.put(one, destination, source.open)
        for name, text in action.contents:
            _put_text(target, destination, name, text, self._terms.time_ns)

    def folder(self, action: WorkdirAction) -> Layer | None:
        """The layer of a WORKDIR, None when the folder is there. Raises UsageError."""
        with Layers(self._store, self._diff_ids, "the image") as lower:
            owner = find_owner(action.user, lower.read)
            target = LayerTarget(lower.lookup, self._terms.replace(owner=owner))
            target.folder(raw(action.path))
            return self._write(target)

    def _write(self, target: LayerTarget, task: Task | None = None) -> Layer | None:
        """Store the layer. One that is probably here already is only hashed, which is much quicker."""
        expected = None
        if self._known:
            digest = sha256()
            _write_tar(target, _counted(digest.update, task) if task else digest.update)
            expected = Digest(f"sha256:{digest.hexdigest()}")
        pipe = Pipe()
        stage = Worker(lambda: _write_tar(target, pipe.write), feeds=pipe)
        with running([stage], [pipe]):
            tar = ProgressReader(pipe, task) if task else pipe
            descriptor, diff_id = add_layer(self._store, tar, expected=expected)
            pipe.satisfy()
        if task:
            task.done("copied")
        return None if diff_id == EMPTY_DIFF_ID else (descriptor, diff_id)


def _counted(write: Callable[[bytes], object], task: Task) -> Callable[[bytes], object]:
    def counted(data: bytes) -> None:
        write(data)
        task.advance(len(data))

    return counted


def copying(report: StepReport, chosen: Sequence[Selection], phase: str = "Copying") -> Task | None:
    """What tells of much that is read; None for little."""
    size = sum(item.size for one in chosen for _, item in one.files if item.kind == "file")
    if size < _MUCH:
        return None
    task = report.task("files")
    task.phase(phase, size)
    return task


def _nothing(_path: bytes) -> None:
    """What --link sees beneath: its layer depends on no other."""


def _write_tar(target: LayerTarget, write: Callable[[bytes], object]) -> None:
    """The layer as a tar, in large pieces; ends early when `write` says False."""
    out = _Pieces(write)
    writer = TarWriter(out.add)
    for entry, payload in target.entries():
        writer.add(entry, payload)
        if out.enough:
            return
    writer.close()
    out.flush()


class _Pieces:
    """Small writes made into large ones: each costs a lock."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._held: list[bytes] = []
        self._size = 0
        self.enough = False

    def add(self, data: bytes) -> None:
        self._held.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        if self._held:
            self.enough = self._write(b"".join(self._held)) is False
            self._held, self._size = [], 0


def _put_text(target: LayerTarget, destination: bytes, name: str, text: str, time_ns: int) -> None:
    data = raw(text)
    item = CopyItem(raw(name), "file", 0o644, time_ns, size=len(data))
    target.put(Selection(raw(name), ((b"", item),)), destination, lambda _: BytesIO(data))
