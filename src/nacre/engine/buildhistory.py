"""Records of builds as values: `engine.system.builds()`."""

from __future__ import annotations

import os
from time import time

from ..stores.buildrecords import SAID, RecordedBuild, events, is_ref, records, remove
from ..words.digest import Digest
from ..words.errors import InvalidName, NotFound, UsageError
from ..words.oci import Platform
from ..words.reference import Reference
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..stores.store import Store
    from ..words.progress import Progress, Steps

RUNNING, COMPLETED, ERROR, CANCELED = STATUSES = ("running", "completed", "error", "canceled")
PROVENANCE, SBOM = "https://slsa.dev/provenance/", "https://spdx.dev/Document"
_KINDS = ("index", "manifest", "image", "provenance", "sbom")
_CANCELED, _UNKNOWN = 1, 2
"""Codes of gRPC, which BuildKit's errors have."""


class BuildFault(Value):
    """Why a build failed: `source` are lines of the Dockerfile from `first` on, `line` to `last` the step's.

    `logs` is what the step wrote last, `code` is that of gRPC.
    """

    message: str
    code: int = _UNKNOWN
    step: str = ""
    logs: str = ""
    file: str = ""
    source: str = ""
    first: int = 0
    line: int = 0
    last: int = 0


class BuildAttachment(Value):
    """A document about a build: its digest, the platform it is for, and its type."""

    digest: str
    platform: str
    type: str


class BuildRecord(Value):
    """One build. Times are seconds since 1970, `completed` 0 while it is `running`.

    `status` is running, completed, error or canceled. `context` is a path, a URL or `-`. Values of
    `arguments` and `labels` are None where they were kept from the record. `materials` are URLs of packages
    with digests. `steps`, `done` and `cached` count.
    """

    ref: str
    status: str
    started: float
    completed: float = 0.0
    context: str = ""
    dockerfile: str = ""
    target: str = ""
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str | None], ...] = ()
    labels: tuple[tuple[str, str | None], ...] = ()
    contexts: tuple[tuple[str, str | None], ...] = ()
    network: str = ""
    hosts: tuple[str, ...] = ()
    shm_size: int = 0
    ulimits: tuple[str, ...] = ()
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    repository: str = ""
    revision: str = ""
    steps: int = 0
    done: int = 0
    cached: int = 0
    fault: BuildFault | None = None
    materials: tuple[tuple[str, str], ...] = ()
    attachments: tuple[BuildAttachment, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds, until now for one that is running."""
        return max((self.completed or time()) - self.started, 0.0)

    @property
    def name(self) -> str:
        """The argument BUILDKIT_BUILD_NAME, else the folder, its Dockerfile if it has another name, and the
        target, as buildx puts them together.
        """
        if named := dict(self.arguments).get("BUILDKIT_BUILD_NAME"):
            return named
        is_remote = "://" in self.context or self.context.startswith("git@")
        place = self.context if is_remote else _short(self.context, self.dockerfile)
        target = f" ({self.target})" if self.target and place else self.target
        return place + target


def _short(context: str, dockerfile: str) -> str:
    folder = "" if context == "-" else os.path.basename(context)
    if dockerfile in ("", "-", "Dockerfile"):
        return folder
    path = dockerfile.removesuffix("/Dockerfile")
    inside = os.path.relpath(path, context) if path.startswith(f"{context}/") else path
    if os.path.isabs(inside):
        return "/".join(inside.split("/")[-2:]) if path == dockerfile else os.path.basename(inside)
    return f"{folder}/{inside}" if folder else inside


def builds(store: Store) -> list[BuildRecord]:
    """All records, those that are at work first, else the newest first."""
    found = [_record(one) for one in records(store.root)]
    return sorted(found, key=lambda one: (one.status != RUNNING, -one.started))


def repository_of(folder: str) -> str:
    """The URL of what a folder was cloned from. Raises NotFound."""
    from ..services.build.checkout import Checkout

    found = Checkout.find(folder, "")
    url = dict(found.described()).get("source", "") if found else ""
    if not url:
        what = "the repository has no remote origin" if found else "there is no git repository"
        raise NotFound(f"cannot tell the repository of {folder}: {what}")
    return url


def find(store: Store, ref: str) -> BuildRecord:
    """The record of a name, of `^N` (that many before the newest), or "" for the newest. Raises NotFound.

    A name may be `default/default/REF`.
    """
    found = _chosen(store, ref)
    return found if found.steps else _counted(store, found)


def _counted(store: Store, one: BuildRecord) -> BuildRecord:
    """With the steps of one that has not come to its end, as far as they were told."""
    told = list(events(store.root, one.ref))
    ends = [event[3] for event in told if event[0] == "end" and len(event) > 3]
    begun, cached = sum(event[0] == "begin" for event in told), ends.count("CACHED")
    return one.replace(steps=begun, done=ends.count("DONE") + cached, cached=cached)


def _chosen(store: Store, ref: str) -> BuildRecord:
    found = sorted(builds(store), key=lambda one: -one.started)
    if ref.startswith("^") or not ref:
        number = ref[1:] or "0"
        if not number.isdecimal() or len(number) > 6:
            raise UsageError(f"invalid offset {ref[:80]!r}")
        if int(number) >= len(found):
            raise NotFound(f"no build found with offset {number}" if ref else "no records found")
        return found[int(number)]
    name = ref.rpartition("/")[2]
    one = next((one for one in found if one.ref == name), None)
    if one is None:
        raise NotFound(f"no record found for ref {ref[:200]!r}", hint="see `nacre buildx history ls`")
    return one


def remove_builds(store: Store, refs: Sequence[str], *, all: bool = False) -> list[str]:
    """Forget records of builds that are over; their names. Raises NotFound."""
    if all:
        return remove(store.root, [one.ref for one in builds(store) if one.status != RUNNING])
    names = [find(store, ref).ref for ref in refs]
    gone = remove(store.root, names)
    if left := [name for name in names if name not in gone and is_ref(name)]:
        raise NotFound(f"build {left[0]} is still running")
    return gone


def log_of(store: Store, ref: str) -> tuple[float, list[list[Any]]]:
    """When a build began, and what was told of it. Raises NotFound, UsageError."""
    one = find(store, ref)
    return one.started, [event for event in events(store.root, one.ref) if event[0] in _TELL]


def replay(
    started: float, events: Sequence[list[Any]], progress: Callable[[Callable[[], float]], Progress]
) -> None:
    """Tell a log again. `progress` is called with a clock that says when a thing was told."""
    from ..services.build import BuildReport

    moment = started

    def clock() -> float:
        return moment

    shown, begun = BuildReport(progress(clock)).steps, set[int]()
    for kind, seconds, *fields in events:
        try:
            moment = started + float(seconds)
            number = int(fields[0])
            if kind == "begin":
                begun.add(number)
            if number in begun:
                _TELL[kind](shown, number, *fields[1:])
        except (KeyError, ValueError, TypeError, AttributeError):
            continue  # an event of another version, or damaged


def _begin(steps: Steps, number: int, title: str) -> None:
    steps.begin(number, str(title))


def _news(steps: Steps, number: int, text: str) -> None:
    steps.news(number, str(text))


def _output(steps: Steps, number: int, seconds: float, stream: str, lines: list[str]) -> None:
    steps.output(number, float(seconds), str(stream), list(map(str, lines)))


def _task(steps: Steps, number: int, key: str, status: str) -> None:
    steps.transfer(number, str(key)).done(str(status))


def _end(steps: Steps, number: int, how: str, seconds: float, why: str) -> None:
    steps.end(number, str(how), float(seconds), str(why))


_TELL: dict[str, Callable[..., None]] = {
    "begin": _begin, "news": _news, "output": _output, "task": _task, "end": _end,
}  # fmt: skip


def attachment(store: Store, ref: str, digest: str, kind: str, platform: str) -> bytes:
    """A document about a build, by its digest, or by its kind and platform. Raises NotFound, UsageError.

    `kind` is index, manifest, image (the config), provenance, sbom, or "" for the manifest.
    """
    if kind and kind not in _KINDS:
        raise UsageError(f"unknown attachment type {kind[:80]!r}", hint=f"use {', '.join(_KINDS)}")
    one = find(store, ref)
    wanted = str(Platform.parse(platform)) if platform else ""
    for known in one.attachments:
        fits = known.digest == digest if digest else _is_kind(known, kind or "manifest")
        if fits and wanted in ("", known.platform):
            return _content(store, one.ref, known, is_config=kind == "image")
    what = digest or kind or "manifest"
    where = f" for {wanted}" if wanted else ""
    raise NotFound(f"build {one.ref} has no attachment {what[:100]}{where}")


def _is_kind(known: BuildAttachment, kind: str) -> bool:
    if kind == "provenance":
        return known.type.startswith(PROVENANCE)
    if kind == "sbom":
        return known.type.startswith(SBOM)
    if kind == "index":
        return known.type.endswith(("index.v1+json", "manifest.list.v2+json"))
    return known.type.endswith(("manifest.v1+json", "manifest.v2+json"))


def _content(store: Store, ref: str, known: BuildAttachment, *, is_config: bool) -> bytes:
    for kind, _, *fields in events(store.root, ref):
        if kind == SAID and fields[:3] == [known.type, known.platform, known.digest]:
            return str(fields[3]).encode()
    descriptor = store.refs.image(Digest(known.digest))
    if descriptor is None:
        raise NotFound(f"image {known.digest} is not in the store any more")
    if not is_config:
        return store.blobs.read(descriptor.digest)
    from ..images.model.image import Image

    return store.blobs.read(Image.load(store, descriptor).manifest.config.digest)


def _record(one: RecordedBuild) -> BuildRecord:
    asked, ended = _Fields(one.asked), _Fields(one.ended)
    steps, done, cached, *_ = [*ended.numbers("steps"), 0, 0, 0]
    return BuildRecord(
        one.ref, RUNNING if one.running else _status(ended), asked.number("started"),
        0.0 if one.running else ended.number("completed") or one.written,
        asked.text("context"), asked.text("file") or ended.text("dockerfile"), asked.text("target"),
        asked.texts("platforms"), asked.texts("tags"), asked.pairs("arguments"), asked.pairs("labels"),
        asked.pairs("contexts"), asked.text("network"), asked.texts("hosts"),
        int(asked.number("shm_size")), asked.texts("ulimits"), bool(asked.number("no_cache")),
        asked.texts("no_cache_filter"), ended.text("source"), ended.text("revision"), steps, done, cached,
        _fault(one, ended), tuple(_materials(ended)), tuple(_attachments(ended)),
    )  # fmt: skip


def _status(ended: _Fields) -> str:
    found = ended.text("status")
    return found if found in STATUSES[1:] else ERROR


def _fault(one: RecordedBuild, ended: _Fields) -> BuildFault | None:
    if one.running or ended.text("status") == COMPLETED:
        return None
    said = one.ended.get("error")
    if not one.ended or not isinstance(said, dict):
        return BuildFault("the build was interrupted")
    found = _Fields(said)
    code = _CANCELED if ended.text("status") == CANCELED else _UNKNOWN
    first, line, last = (int(found.number(name)) for name in ("first", "line", "last"))
    step, logs, file, source = (found.text(name) for name in ("step", "logs", "file", "source"))
    return BuildFault(found.text("message"), code, step, logs, file, source, first, line, max(line, last))


def _materials(ended: _Fields) -> list[tuple[str, str]]:
    return [(_url(name, platform), digest) for name, platform, digest in ended.rows("materials", 3)]


def _url(name: str, platform: str) -> str:
    """That of a package, as attestations have it; the name where their libraries are not installed."""
    try:
        from ..images.attestations.packageurls import image_url

        return image_url("docker", Reference.parse(name), Platform.parse(platform))
    except (ImportError, InvalidName, UsageError):
        return name


def _attachments(ended: _Fields) -> list[BuildAttachment]:
    rows = ended.rows("attachments", 3)
    return [BuildAttachment(digest, platform, kind) for platform, digest, kind in rows]


class _Fields:
    """What a document has, of the types that it should have."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        found = self._fields.get(name)
        return found if isinstance(found, str) else ""

    def number(self, name: str) -> float:
        found = self._fields.get(name)
        return found if isinstance(found, int | float) else 0.0

    def numbers(self, name: str) -> list[int]:
        return [item for item in self._list(name) if isinstance(item, int)]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(item for item in self._list(name) if isinstance(item, str))

    def rows(self, name: str, count: int) -> list[list[str]]:
        return [
            item for item in self._list(name)
            if isinstance(item, list) and len(item) == count and all(isinstance(one, str) for one in item)
        ]  # fmt: skip

    def pairs(self, name: str) -> tuple[tuple[str, str | None], ...]:
        found = [item for item in self._list(name) if isinstance(item, list) and len(item) == 2]
        return tuple((key, value) for key, value in found if isinstance(key, str))

    def _list(self, name: str) -> list[Any]:
        found = self._fields.get(name)
        return found if isinstance(found, list) else []
