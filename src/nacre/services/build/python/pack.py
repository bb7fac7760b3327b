"""Wheels of source trees: the project, its neighbours, and packages that have no wheel that fits.

They are built in a container of the base image, by the backend that the tree names, with what it requires
laid there as wheels: no pip, nothing of the host, and the same Python that will run it. So strangers' code
runs where a RUN would run it. For another architecture the base for this machine is taken; what comes out
must then fit any machine.
"""

from __future__ import annotations

import io
import json
import os

from ....grammars.codecs.stream import decompress
from ....grammars.python.files import IndexFile, Pinned, rank_of
from ....grammars.python.names import canonical
from ....grammars.python.project import NAME, BuildSystem, read_project
from ....grammars.tar.read import read_tar
from ....images.dockerfile.fold import CopyAction
from ....words.errors import BuildFailed, InvalidArchive, Unsupported, UsageError
from ....words.value import Value
from ..content import content_of
from ..copy import LayerCopier
from ..downloads import RemoteFile
from ..items import beside, raw
from ..keys import Key
from ..select import Selection, select
from . import hooks
from .container import run_python
from .layout import EXCLUDED, TIME, python

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ....grammars.python.target import Target
    from ....grammars.tar.entry import Reader
    from ....words.digest import Digest
    from ....words.oci import Platform
    from ..context import BuildContext
    from ..layers import Layers
    from ..report import StepReport
    from .container import RunSettings
    from .index import PackageIndex

_MOST, _MOST_ENTRIES = 1 << 30, 100_000
_DEEPEST = 5
_ARCHIVE = "/src/"
"""Where a source archive is unpacked: it has one folder, of any name."""
_MAX_DOCUMENT = 8 << 20


class PackKey(Key):
    """A wheel that was built: `layers` are those of the base."""

    content: str
    folder: str
    backend: str
    requires: tuple[str, ...]
    python: str
    env: tuple[tuple[str, str], ...]


class BuildTools(Value):
    """Where wheels are built. `layers` begin with the base's, `laid` gives those of some requirements."""

    room: RunSettings
    layers: tuple[Digest, ...]
    platform: Platform
    target: Target
    laid: Callable[[Sequence[str]], Sequence[Digest]]


class BuiltWheel(Value):
    """A wheel that was built: its file name, its SHA-256 and size, and METADATA as text."""

    name: str
    sha256: str
    size: int
    metadata: str
    scripts: str = ""


class WheelBuilder:
    """Builds wheels, each once; what was built is known by its key."""

    def __init__(
        self, bench: Callable[[], BuildTools], index: PackageIndex, target: Target, context: BuildContext
    ) -> None:
        self._make, self._index, self._target, self._context = bench, index, target, context
        self._made: BuildTools | None = None
        self._depth = 0

    @property
    def _bench(self) -> BuildTools:
        """Where it is done, made when something has to be built."""
        if self._made is None:
            self._made = self._make()
        return self._made

    # what is built

    def of_folder(
        self, folder: str, system: BuildSystem, report: StepReport, anew: bool = False
    ) -> BuiltWheel:
        """The wheel of a folder of the context. Raises BuildFailed, Unsupported, UsageError."""
        chosen = select(self._context, ".", EXCLUDED)
        inner = [row for row in chosen[0].files if _is_below(row[0], folder)]
        content = content_of(self._context, [Selection(b"", tuple(inner))], lambda _content, _pieces: None)
        key = self._key(content, folder, system)

        def source() -> Digest | None:
            layer = self._copier().copy(CopyAction((".",), (), "/src/"), self._context, chosen, report)
            return layer[1] if layer else None

        return self._built(key, source, f"/src/{folder}".removesuffix("/."), system, report, anew)

    def of_archive(self, pinned: Pinned, path: str, sha256: str, report: StepReport) -> BuiltWheel:
        """The wheel of a source archive that was fetched."""
        file = pinned.file
        assert file is not None
        system = _system_in(path, file.name)
        key = self._key(sha256, "", system)

        def source() -> Digest | None:
            return self._unpacked(file, path, sha256, report)

        try:
            return self._built(key, source, _ARCHIVE, system, report, False)
        except BuildFailed as error:
            error.hint = error.hint or f"no wheel of {pinned.name} {pinned.version} fits {self._target}"
            raise

    def _unpacked(self, file: IndexFile, path: str, sha256: str, report: StepReport) -> Digest | None:
        """The layer with an archive unpacked in /src."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            item = RemoteFile(file.url, fd, os.fstat(fd).st_size, bytes.fromhex(sha256), 0)
            chosen = [Selection(raw(file.name), ((b"", item),))]
            action = CopyAction((file.name,), (), "/src/", unpack_remote=True)
            layer = self._copier().copy(action, beside(self._context), chosen, report)
        finally:
            os.close(fd)
        return layer[1] if layer else None

    def _copier(self) -> LayerCopier:
        bench = self._bench
        return LayerCopier(bench.room.store, bench.layers, bench.room.scratch, time_ns=0, clamp=TIME)

    def _key(self, content: str, folder: str, system: BuildSystem) -> PackKey:
        from ..keys import layers_id

        bench = self._bench
        return PackKey(
            layers_id(bench.layers), str(bench.platform), None, content, folder, system.backend,
            system.requires, self._target.short, bench.room.env,
        )  # fmt: skip

    # how

    def _built(
        self, key: PackKey, source: Callable[[], Digest | None], folder: str, system: BuildSystem,
        report: StepReport, anew: bool,
    ) -> BuiltWheel:  # fmt: skip
        store = self._bench.room.store
        record = None if anew else store.steps.get(key.digest)
        if record is not None:
            found = BuiltWheel(**json.loads(record.config_json)["built"])
            if self._index.kept(found.sha256):
                return found
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UsageError(f"{folder} needs itself to be built", hint="use a version that has a wheel")
        built = self._run(source(), folder, system, report)
        self._depth -= 1
        from ....stores.steps import StepRecord

        value = {name: getattr(built, name) for name in BuiltWheel._fields}
        store.steps.put(
            StepRecord(key.digest, key.parent, None, None, json.dumps({"built": value}), key.inputs)
        )
        return built

    def _run(self, source: Digest | None, folder: str, system: BuildSystem, report: StepReport) -> BuiltWheel:
        if source is None:
            raise UsageError("there is nothing to build: .dockerignore excludes the whole project")
        more: list[str] = []
        for number in ("1", "2"):
            written = self._call(source, folder, system, [*system.requires, *more], number, report)
            with written:
                asked = written.read(b"out/requires.json", _MAX_DOCUMENT)
                if not asked:
                    return self._taken(written)
                more = [str(one) for one in json.loads(asked)]
        raise BuildFailed(f"the build backend {system.backend} has made no wheel")

    def _call(
        self, source: Digest, folder: str, system: BuildSystem, requires: Sequence[str], number: str,
        report: StepReport,
    ) -> Layers:  # fmt: skip
        bench = self._bench
        layers = (*bench.layers, *bench.laid(requires), source)
        words = system.backend, os.pathsep.join(system.path), folder, number
        with open(hooks.__file__, encoding="utf-8") as file:
            script = "hooks.py", f"{file.read()}\n\nmain(*{words!r})\n"
        argv = (python(), "-I", "/dev/pipes/hooks.py")
        env = (("SOURCE_DATE_EPOCH", str(TIME)), *bench.room.env)
        room = bench.room.replace(env=env)
        try:
            written = run_python(room, layers, bench.platform, argv, script, report)
        except BuildFailed as error:
            what = folder.removeprefix("/src").strip("/") or "the project"
            what = "a source archive" if folder == _ARCHIVE else what
            error.message = (
                f"the build backend {system.backend} failed for {what} with exit code {error.code}"
            )
            error.args = (error.message,)
            raise
        if written is None:
            raise BuildFailed(f"the build backend {system.backend} has made no wheel")
        return written

    def _taken(self, written: Layers) -> BuiltWheel:
        out = written.lookup(b"out")
        names = [item for item in written.children(out) if item.path.endswith(b".whl")] if out else []
        if len(names) != 1:
            raise BuildFailed(f"the build backend has made {len(names)} wheels")
        name = names[0].path.rpartition(b"/")[2].decode("utf-8", "replace")
        if rank_of(IndexFile(name, ""), self._target.ranks()) is None:
            raise Unsupported(
                f"{name} was built here and does not fit {self._target}",
                hint="build on such a machine, or use a version that has a wheel for it",
            )
        path, sha256, size = self._index.keep(written.open(names[0]))
        from .wheel import opened

        with opened(path, name) as wheel:
            return BuiltWheel(
                name, sha256, size, wheel.metadata.decode("utf-8", "replace"), wheel.entry_points
            )


def _is_below(path: bytes, folder: str) -> bool:
    return folder == "." or path == folder.encode() or path.startswith(folder.encode() + b"/")


def _system_in(path: str, name: str) -> BuildSystem:
    """How a source archive is built, by its pyproject.toml."""
    data = member(path, name, NAME)
    return (read_project(data, f"{name}/{NAME}").system if data else None) or BuildSystem()


def member(path: str, name: str, wanted: str) -> bytes:
    """A file at the top of a source archive, b"" where there is none. Raises InvalidArchive."""
    if not name.endswith(".tar.gz"):
        raise Unsupported(f"{name} is not a .tar.gz, so nothing can be built of it")
    try:
        with open(path, "rb") as file:
            left = _MOST
            for entry, payload in read_tar(decompress(file, "gzip"), _MOST_ENTRIES, apply_globals=True):
                if entry.kind == "file" and entry.path.partition(b"/")[2] == wanted.encode():
                    return _whole(payload, entry.size, name)
                left -= entry.size
                if left < 0:
                    break
    except InvalidArchive as error:
        raise InvalidArchive(f"{name} is no source archive: {error.message}") from None
    return b""


def _whole(payload: Reader, size: int, name: str) -> bytes:
    if size > _MAX_DOCUMENT:
        raise InvalidArchive(f"{name} describes itself in {size} bytes")
    data = b""
    while more := payload.read(size - len(data)):
        data += more
    return data


def static_metadata(path: str, name: str) -> bytes:
    """PKG-INFO of a source archive, if what it says of requirements holds for its wheels too (PEP 643)."""
    from email.parser import BytesHeaderParser

    data = member(path, name, "PKG-INFO")
    fields = BytesHeaderParser().parse(io.BytesIO(data))
    version = tuple(
        int(part) for part in (fields.get("Metadata-Version") or "0").split(".") if part.isdigit()
    )
    dynamic = {str(value).lower() for value in fields.get_all("Dynamic") or ()}
    if version < (2, 2) or {"requires-dist", "provides-extra"} & dynamic:
        return b""
    return data


def metadata_of(name: str, requirements: Sequence[str], extras: Sequence[tuple[str, Sequence[str]]]) -> bytes:
    """METADATA of a project whose pyproject.toml says all: so it need not be built for it."""
    lines = ["Metadata-Version: 2.2", f"Name: {canonical(name)}"]
    lines += [f"Requires-Dist: {text}" for text in requirements]
    for extra, wishes in extras:
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {_in_extra(text, extra)}" for text in wishes]
    return "\n".join([*lines, "", ""]).encode()


def _in_extra(text: str, extra: str) -> str:
    from packaging.requirements import Requirement

    requirement = Requirement(text)
    marker, requirement.marker = requirement.marker, None
    condition = f'extra == "{canonical(extra)}"'
    return f"{requirement} ; ({marker}) and {condition}" if marker else f"{requirement} ; {condition}"
