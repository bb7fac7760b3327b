"""Where builds find caches and leave them: what `cache_from` and `cache_to` say, opened.

    REF                      the same as type=registry,ref=REF
    type=registry,ref=REF    a manifest in a registry, or an image with a cache inline
    type=local,src=FOLDER    an OCI layout; dest=FOLDER to write one
    type=inline              in the image that is built
    type=gha                 GitHub's cache service; needs url_v2 and token

Names and meanings of attributes are BuildKit's.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial

from ..grammars.csvline import read_record
from ..ground.files import remove_tree
from ..images.dockerfile.plan import INLINE
from ..services.build import CacheWriter
from ..stores import caches
from ..words.errors import NacreError, NotFound, Unsupported, UsageError
from ..words.reference import Reference
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..grammars.buildcache import CachedStep
    from ..grammars.mountcache import MountChunk
    from ..images.arrows.buildcache import CacheImport
    from ..images.audit.cacheusage import CacheRecord
    from ..images.layers.repack import Packing
    from ..images.model.source import Sink, Source
    from ..services.build import BuildOptions
    from ..services.build.imports import FoundCache, Opener
    from ..services.build.mounts import Fill
    from ..services.client.githubcache import GitHubCache
    from ..stores.store import Store
    from ..stores.sweep import Freed
    from ..words.digest import Digest
    from ..words.oci import Descriptor
    from ..words.progress import Progress
    from .wiring import Wiring

_FORM = (
    "mode", "ignore-error", "oci-mediatypes", "image-manifest", "compression", "compression-level",
    "force-compression",
)  # fmt: skip
_GITHUB = ("scope", "url_v2", "token", "version")
_FROM = {
    "registry": ("ref", "mounts"), "local": ("src", "tag", "digest", "mounts"), "inline": (), "gha": _GITHUB,
}  # fmt: skip
_TO = {
    "registry": ("ref", "mounts", *_FORM), "local": ("dest", "tag", "mounts", *_FORM), "inline": ("mode",),
    "gha": (*_GITHUB, *_FORM),
}  # fmt: skip
_NEEDED = ("ref", "src", "dest", "url_v2", "token")
_CODECS = {"uncompressed": "none", "gzip": "gzip", "zstd": "zstd"}
_MOUNTS = "-mounts"
_YES, _NO = ("1", "t", "true"), ("0", "f", "false")


class CachePlace(Value):
    """One of `--cache-from` or `--cache-to`, checked."""

    option: str
    kind: str
    fields: tuple[tuple[str, str], ...] = ()

    def get(self, name: str, default: str = "") -> str:
        """An attribute, as it was written."""
        return dict(self.fields).get(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An attribute that is true or false. Raises UsageError."""
        text = self.get(name).lower()
        if text and text not in _YES + _NO:
            raise UsageError(f"{self.option} type={self.kind}: invalid {name}={text}: expected true or false")
        return text in _YES if text else default

    @property
    def name(self) -> str:
        """For messages: where it is."""
        return self.get("ref") or self.get("src") or self.get("dest") or self.kind


def parse(option: str, written: str) -> list[CachePlace]:
    """What one use of `option` (`--cache-from`, `--cache-to`) says. Raises UsageError, Unsupported."""
    words = read_record(written)
    if not any("=" in word for word in words):
        return [_checked(CachePlace(option, "registry", (("ref", word),))) for word in words]
    fields = {key.strip().lower(): value for key, _, value in (word.partition("=") for word in words)}
    kind = fields.pop("type", "")
    return [_checked(CachePlace(option, kind, tuple(fields.items())))]


def _checked(place: CachePlace) -> CachePlace:
    known = (_TO if place.option == "--cache-to" else _FROM).get(place.kind)
    what = f"{place.option} type={place.kind}"
    if known is None:
        raise Unsupported(f"{what} is not supported", hint=f"use type={', type='.join(_FROM)}")
    for name, _ in place.fields:
        if name not in known:
            raise UsageError(f"{what} has no attribute {name!r}", hint=f"it has {', '.join(known) or 'none'}")
    for name in set(_NEEDED).intersection(known):
        if not place.get(name):
            raise UsageError(f"{what} needs {name}=")
    if place.get("version", "2") != "2":
        raise Unsupported(
            f"{what} version={place.get('version')} is not supported: GitHub has switched it off"
        )
    if place.get("mode", "min") not in ("min", "max"):
        raise UsageError(f"{what}: invalid mode={place.get('mode')}: expected min or max")
    _packing(place)
    return place


def _packing(place: CachePlace) -> Packing | None:
    """How layers are to be compressed; None as they are. Raises UsageError, Unsupported."""
    for name in ("oci-mediatypes", "image-manifest"):
        if not place.flag(name, default=True):
            raise Unsupported(
                f"{place.option} {name}=false is not supported: a cache is an OCI image manifest"
            )
    place.flag("ignore-error")
    place.flag("mounts")
    codec, level = place.get("compression"), place.get("compression-level")
    force = place.flag("force-compression")
    if not codec and not level and not force:
        return None
    from ..images.layers.repack import Packing

    if (codec or "gzip") not in _CODECS:
        raise Unsupported(
            f"{place.option} compression={codec} is not supported", hint=f"use {', '.join(_CODECS)}"
        )
    if level and (not level.isdecimal() or len(level) > 9):
        raise UsageError(f"{place.option}: invalid compression-level={level}: expected a number")
    return Packing(_CODECS[codec or "gzip"], int(level) if level else None, force)


def _beside(reference: Reference) -> Reference:
    """The tag of the cache mounts that belong to a cache. Raises UsageError."""
    if reference.digest is not None:
        raise UsageError(f"{reference.familiar}: mounts=true needs a tag, not a digest")
    return reference.replace(tag=reference.target + _MOUNTS)


class BuildCaches:
    """The caches of one build: `openers` read those of `cache_from`, `writers` are those of `cache_to`.

    `with` it: what is opened stays open until the end. Raises UsageError, Unsupported, InvalidName.
    """

    def __init__(self, engine: Wiring, options: BuildOptions) -> None:
        self._engine = engine
        self._platforms = options.platforms or (options.platform,)
        self._open = ExitStack()
        sources = [place for text in options.cache_from for place in parse("--cache-from", text)]
        targets = [place for text in options.cache_to for place in parse("--cache-to", text)]
        if dict(options.arguments).get(INLINE, "").lower() in _YES:
            targets.append(CachePlace("--cache-to", "inline"))
        self.openers: tuple[Opener, ...] = tuple(
            self._opener(place) for place in sources if place.kind != "inline"
        )
        self.writers = tuple(map(self._writer, targets))
        self._early = [place for place in targets if place.kind == "registry" and not _packing(place)]
        self._givers = [place for place in sources if place.flag("mounts")]

    def __enter__(self) -> BuildCaches:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._open.close()

    @property
    def fill(self) -> Fill | None:
        """What gives new cache mounts their files, if any of the caches has some."""
        return self._fill if self._givers else None

    def _fill(self, name: str, folder: str, progress: Progress) -> None:
        """From the first cache that has a mount of this name. A cache is no reason to fail."""
        from ..ground import userns
        from ..images.arrows.mountcache import fill

        for place in self._givers:
            try:
                source, chunks = self._mount(place, name)
                if chunks:
                    fill(source, chunks, folder, owners=not userns.current().single)
                    progress.line(f"cache mount {name[:12]} begins as it is in {place.name}")
                    return
            except NacreError as error:
                progress.line(f"WARNING: cache mount {name[:12]} begins empty: {error.message}")
                for left in os.listdir(folder):
                    remove_tree(f"{folder}/{left}")

    def _mount(self, place: CachePlace, name: str) -> tuple[Source, Sequence[MountChunk]]:
        from ..images.arrows.mountcache import load_mounts

        source, reference = self._mounts_of(place)
        try:
            return source, load_mounts(source, reference).get(name, ())
        except NotFound:
            return source, ()

    def _mounts_of(self, place: CachePlace) -> tuple[Source, Reference]:
        """Where the cache mounts of a place are, beside its steps. Raises NotFound."""
        if place.kind == "registry":
            reference = _beside(Reference.parse(place.get("ref")))
            return self._engine.client.repository(reference), reference
        from ..images.places.layout import OciLayout
        from ..images.places.members import FolderMembers
        from ..images.places.place import ANY

        members = self._open.enter_context(FolderMembers(place.name))
        return OciLayout(members, place.get("tag", "latest") + _MOUNTS), ANY

    def _write_mounts(self, place: CachePlace, names: Sequence[str], progress: Progress) -> None:
        """Those that steps of this build had; others stay as they are there."""
        from ..ground import userns
        from ..images.arrows.mountcache import MountExport, load_mounts

        try:
            kept = load_mounts(*self._mounts_of(place))
        except (NotFound, Unsupported):
            kept = {}
        sink, target = self._sink(place)
        export = MountExport(sink, kept, owners=not userns.current().single)
        for name in names:
            folder = caches.mount(self._engine.store.root, name)
            if os.path.isdir(folder) and not export.add(name, folder):
                progress.line(f"cache mount {name[:12]} is in use by another build, and stays here")
        export.close(target + _MOUNTS)
        progress.line(f"writing {len(export.mounts)} cache mounts: {export.sent} bytes sent")

    def _opener(self, place: CachePlace) -> Opener:
        if place.kind == "registry":
            reference = Reference.parse(place.get("ref"))
            return str(reference), partial(self._of_registry, str(reference), reference)
        if place.kind == "gha":
            return place.kind, partial(self._of_github, place)
        return place.get("src"), partial(self._of_folder, place)

    def _of_registry(self, name: str, reference: Reference) -> CacheImport:
        from ..images.arrows.buildcache import load

        return load(name, self._engine.client.repository(reference), reference, self._platforms)

    def _of_github(self, place: CachePlace) -> CacheImport:
        from ..images.arrows.buildcache import load
        from ..images.places.place import ANY

        return load("GitHub's cache", self._github(place), ANY, self._platforms)

    def _github(self, place: CachePlace) -> GitHubCache:
        from ..services.client.githubcache import GitHubCache

        scope = place.get("scope", "nacre")
        return GitHubCache(self._engine.client.http, place.get("url_v2"), place.get("token"), scope)

    def _of_folder(self, place: CachePlace) -> CacheImport:
        from ..images.arrows.buildcache import load
        from ..images.places.layout import OciLayout
        from ..images.places.members import FolderMembers
        from ..images.places.place import ANY

        members = self._open.enter_context(FolderMembers(place.get("src")))
        digest = place.get("digest")
        source = OciLayout(members, f"@{digest}" if digest else place.get("tag", "latest"))
        return load(place.get("src"), source, ANY, self._platforms)

    def _writer(self, place: CachePlace) -> CacheWriter:
        if place.kind == "inline":
            return CacheWriter(place.kind)
        name = str(Reference.parse(place.get("ref"))) if place.kind == "registry" else place.name
        return CacheWriter(
            place.kind, name, partial(self._write, place), is_whole=place.get("mode") == "max",
            may_fail=place.flag("ignore-error"),
            write_mounts=partial(self._write_mounts, place) if place.flag("mounts") else None,
        )  # fmt: skip

    def _write(
        self, place: CachePlace, steps: Sequence[CachedStep], progress: Progress,
        elsewhere: Mapping[Digest, FoundCache],
    ) -> None:  # fmt: skip
        from ..images.arrows.buildcache import CacheSending, export
        from .transfers import budget, repository

        engine = self._engine
        sink, target = self._sink(place)
        sources = tuple((digest, cache.source) for digest, cache in elsewhere.items())
        how = CacheSending(
            _packing(place), "", lambda name: repository(engine, name), budget(engine), sources
        )
        done = export(engine.store, steps, sink, target, how, progress)
        progress.line(f"{'unchanged' if done.unchanged else 'writing'} manifest {done.digest}")

    @property
    def ahead(self) -> Callable[[Descriptor, bool], object] | None:
        """What sends a layer to registries before the cache: of the result, or of any stage."""
        return self._send if self._early else None

    def _send(self, layer: Descriptor, is_result: bool) -> None:
        from ..images.arrows.buildcache import CacheSending, send_layer
        from .transfers import repository

        engine = self._engine
        how = CacheSending(None, "", lambda name: repository(engine, name))
        for place in self._early:
            if is_result or place.get("mode") == "max":
                send_layer(engine.store, layer, self._sink(place)[0], how)

    def _sink(self, place: CachePlace) -> tuple[Sink, str]:
        """Where a cache is written, and under what name."""
        if place.kind == "registry":
            reference = Reference.parse(place.get("ref"))
            return self._engine.client.repository(reference), reference.target
        if place.kind == "gha":
            return self._github(place), ""
        from ..images.places.layout import LayoutFolder

        folder = LayoutFolder(place.get("dest"))
        self._open.callback(folder.close)
        return folder, place.get("tag", "latest")


def prune(
    store: Store, limits: tuple[int, int, int], picked: Callable[[CacheRecord], bool] | None
) -> tuple[list[CacheRecord], Freed]:
    """As `System.prune_cache`; `limits` are those in their order there."""
    from ..images.audit.cacheusage import CacheLimits, cache_records, doomed
    from ..stores import reserve
    from ..stores.sweep import sweep

    reserve.release(store.root)
    stats = os.statvfs(store.root)
    wanted = picked or (lambda _record: True)
    gone = doomed(cache_records(store), CacheLimits(*limits), stats.f_bavail * stats.f_frsize, wanted)
    items = frozenset(item for one in gone for item in one.items)
    return gone, sweep(store, build_cache=True, cache_items=items)


def keep_within(store: Store, most: int) -> None:
    """Prune the build cache if it has grown beyond `most` bytes, by what was used least recently."""
    if store.steps.bytes() + sum(size for _, size in caches.sizes(store.root)) > most:
        prune(store, (most, 0, 0), None)
