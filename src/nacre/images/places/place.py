"""Places that a copy can begin and end at, by the names that skopeo's users know.

    place  = [ "docker://" ] reference            a registry
           | "nacre:" name                        the store: a reference, an id, a digest
           | "oci:" folder [ ":" name ]           an OCI layout
           | "oci-archive:" file [ ":" name ]     the same as a tar
           | "docker-archive:" file [ ":" ref ]   what `docker save` writes
           | "docker-daemon:" ref                 images of a docker daemon
           | "host:" name                         made from this machine; to copy from only

A name that begins with "@" chooses by digest (`oci:`) or by number, from 0 on. Of folders and files
the first ":" ends the path. Source: containers-transports(5).
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from ...ground.files import os_errors, random_name
from ...ground.work.budget import Budget
from ...words.errors import Conflict, InvalidName, NotFound, UsageError
from ...words.progress import NullProgress, Progress
from ...words.reference import Reference
from ...words.value import Value
from .layout import LayoutFolder, OciLayout
from .local import StoreSink, StoreSource
from .members import FolderMembers, TarMembers, spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Protocol

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ..model.source import Sink, Source

    class RegistryRepository(Source, Sink, Protocol):
        """A repository of a registry."""

    class Daemon(Protocol):
        """The API of a docker daemon."""

        def images(self, name: str) -> AbstractContextManager[Reader]:
            """The archive of one image."""

        def loading(self) -> AbstractContextManager[Callable[[bytes], object]]:
            """Takes an archive, piece by piece."""


DOCKER, STORE, OCI, OCI_ARCHIVE, DOCKER_ARCHIVE, DAEMON, HOST = (
    "docker", "nacre", "oci", "oci-archive", "docker-archive", "docker-daemon", "host",
)  # fmt: skip
_PATHS = (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE)
_PLAIN = (DOCKER_ARCHIVE, DAEMON)
_ELSEWHERE = ("containers-storage", "dir", "docker-tar", "ostree", "sif", "tarball")
ANY = Reference("image.invalid", "image")
"""What a source is asked for that knows by itself which image is meant."""


class Place(Value):
    """One end of a copy. `path` for folders and files, `name` as the grammar has it, "" if none."""

    transport: str
    path: str = ""
    name: str = ""
    reference: Reference | None = None

    @classmethod
    def of(cls, place: str | Place) -> Place:
        """A place, read unless it is one already. Raises InvalidName, UsageError."""
        return place if isinstance(place, Place) else cls.parse(place)

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises InvalidName, UsageError for a transport of other tools."""
        head, colon, rest = text.partition(":")
        if text.startswith("docker://"):
            return cls.in_registry(Reference.parse(text[9:]))
        if colon and head in _ELSEWHERE:
            known = "docker://, nacre:, oci:, oci-archive:, docker-archive:, docker-daemon:, host:"
            raise UsageError(f"{head}: is not a known kind of place", hint=f"use one of {known}")
        if colon and head in _PATHS:
            path, _, name = rest.partition(":")
            if not path:
                raise InvalidName(f"invalid place {text!r}: it has no path")
            return cls(head, path, name)._checked()
        if colon and head in (STORE, DAEMON):
            return cls(head, "", rest)._checked()
        if head == HOST and colon and "/" not in rest:
            return cls(HOST, "", text)
        return cls.in_registry(Reference.parse(text))

    @classmethod
    def in_registry(cls, reference: Reference) -> Place:
        """What a reference names in its registry."""
        return cls(DOCKER, "", str(reference), reference)

    def _checked(self) -> Place:
        if self.transport in (STORE, DAEMON) and not self.name:
            raise InvalidName(f"{self.transport}: needs the name of an image")
        if self.transport == DAEMON or (self.transport == DOCKER_ARCHIVE and self.name[:1] not in ("", "@")):
            reference = Reference.parse(self.name)
            return self.replace(name=str(reference), reference=reference)
        return self

    def named(self) -> Reference:
        """The reference of a place in a registry or a daemon."""
        assert self.reference is not None
        return self.reference

    @property
    def needs_store(self) -> bool:
        """Whether the store must be opened for it."""
        return self.transport in (STORE, HOST)

    def __str__(self) -> str:
        """As it is parsed."""
        if self.transport == DOCKER:
            return f"docker://{self.name}"
        if self.transport == HOST:
            return self.name
        path = f"{self.path}:" if self.path and self.name else self.path
        return f"{self.transport}:{path}{self.name}"


class Places:
    """Opens places. What it is handed is called only when a place needs it."""

    def __init__(
        self, store: Callable[[], Store], repository: Callable[[Reference], RegistryRepository],
        daemon: Callable[[], Daemon], folder: str = "/var/tmp", progress: Progress | None = None,
        budget: Budget | None = None,
    ) -> None:  # fmt: skip
        """`folder` is for what must lie in a file for a while; `budget` None: this machine's."""
        self._store, self._repository, self._daemon = store, repository, daemon
        self._folder, self._progress = folder, progress or NullProgress()
        self._budget = budget or Budget.of_machine()

    def reference(self, place: Place) -> Reference:
        """What to ask the source of a place for."""
        return place.named() if place.transport == DOCKER else ANY

    def target(self, place: Place) -> str:
        """Under what the sink of a place is to keep the image. Raises UsageError."""
        if place.transport != DOCKER:
            return place.name
        return place.named().target

    @contextmanager
    def source(self, place: Place, to: Place | None = None, *, exact: bool = False) -> Iterator[Source]:
        """A place to copy from. What docker gives uncompressed is compressed for `to` unless `exact`."""
        with self._opened(place) as source:
            if exact or place.transport not in _PLAIN or to is None or to.transport in _PLAIN:
                yield source
                return
            from .packed import GzipSource

            packed = GzipSource(source, self._folder, self._progress, self._budget)
            try:
                yield packed
            finally:
                packed.close()

    @contextmanager
    def _opened(self, place: Place) -> Iterator[Source]:
        if place.transport == DOCKER:
            yield self._repository(place.named())
        elif place.transport == STORE:
            yield StoreSource(self._store(), place.name, lambda name: self._repository(Reference.parse(name)))
        elif place.transport == HOST:
            from .host import HostSource

            yield HostSource(self._store(), place.name)
        elif place.transport == OCI:
            with FolderMembers(_folder(place.path)) as members:
                yield OciLayout(members, place.name)
        else:
            from .dockerarchive import open_archive

            with self._stream(place) as stream, spool(stream, self._folder) as file:
                name = "" if place.transport == DAEMON else place.name
                yield open_archive(TarMembers(file), name)

    @contextmanager
    def _stream(self, place: Place) -> Iterator[Reader]:
        if place.transport == DAEMON:
            with self._daemon().images(place.named().familiar) as stream:
                yield stream
            return
        try:
            file = open(place.path, "rb")
        except OSError as error:
            raise NotFound(f"cannot open {place.path}: {(error.strerror or '').lower()}") from None
        with file:
            yield file

    @contextmanager
    def sink(self, place: Place) -> Iterator[Sink]:
        """A place to copy to. What is written as one file, or to a daemon, counts when the block ends well.

        Raises UsageError for what cannot be written, Conflict for a docker-archive that exists.
        """
        if place.transport in _PATHS and place.name.startswith("@"):
            raise UsageError(
                f"{place}: the target needs a name", hint=f"{place.name} only selects an existing image"
            )
        if place.transport == DOCKER:
            yield self._repository(place.named())
        elif place.transport == STORE:
            store = self._store()
            with store.leases.hold():
                yield StoreSink(store, _named(place.name))
        elif place.transport == OCI:
            folder = LayoutFolder(place.path, place.name)
            try:
                yield folder
            finally:
                folder.close()
        elif place.transport in (OCI_ARCHIVE, DOCKER_ARCHIVE):
            yield from self._file(place)
        elif place.transport == DAEMON:
            with self._daemon().loading() as write:
                yield from _filled(write)
        else:
            raise UsageError(f"{place} can only be copied from")

    def _file(self, place: Place) -> Iterator[Sink]:
        docker = place.transport == DOCKER_ARCHIVE
        if docker and os.path.isfile(place.path):
            raise Conflict(
                f"{place.path} exists already", hint="archives cannot be modified; remove it first"
            )
        with os_errors(f"write {place.path}"):
            if os.path.exists(place.path) and not os.path.isfile(place.path):
                with open(place.path, "wb") as file:  # a pipe or a device: nothing to replace
                    yield from _filled(file.write, docker=docker)
                return
            yield from _replaced(place.path, docker)


def _filled(write: Callable[[bytes], object], *, docker: bool = True) -> Iterator[Sink]:
    from .archivesink import ArchiveSink

    sink = ArchiveSink(write, docker=docker)
    yield sink
    sink.close()


def _replaced(path: str, docker: bool) -> Iterator[Sink]:
    """Let a file appear when it is whole."""
    temporary = f"{path}.{random_name()}.part"
    try:
        with _new(temporary) as file:
            yield from _filled(file.write, docker=docker)
        os.rename(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _new(path: str) -> BinaryIO:
    return open(path, "xb", buffering=1 << 20)


def _folder(path: str) -> str:
    if not os.path.isdir(path):
        raise NotFound(f"no OCI layout in {path}: no such directory")
    return path


def _named(name: str) -> Reference:
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise UsageError(f"an image of the store is named by a tag, not by a digest: {name}")
    return reference
