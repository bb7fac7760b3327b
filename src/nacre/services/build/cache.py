"""The build cache as the builder sees it: keys to layers that are here, whole, or in a cache elsewhere."""

from __future__ import annotations

from ...grammars.buildcache import CachedStep
from ...stores.steps import StepRecord
from ...words.light import cached_property
from ...words.quickjson import dumps, loads
from .imports import ImportedCaches
from .keys import apart
from .stageprogress import StepLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...stores.store import Store
    from ...words.digest import Digest
    from ...words.oci import Descriptor
    from .keys import Key


class Cache:
    """Finds and keeps steps, and counts them: `cached` were found, `ran` were done."""

    def __init__(
        self, store: Store, disabled: bool = False, imports: ImportedCaches | None = None, *,
        since: float = float("inf"),
    ) -> None:  # fmt: skip
        """`disabled`: nothing is found that was done before the time `since`, everything is kept.

        `imports` are asked for what is not here.
        """
        self.store, self._disabled, self._since = store, disabled, since
        self.imports = ImportedCaches() if disabled or imports is None else imports
        self.ran = self.cached = 0
        self.keeps = True
        self.used: dict[str, CachedStep] = {}
        """The steps of this build so far, done or found, for a cache that is written."""
        self.made: set[Digest] = set()
        """The layers of the steps that were done."""
        self._found: list[StepRecord] = []

    def find(self, key: Key, *, disabled: bool = False) -> StepLayer | None:
        """What the step with this key made, if all of it is still here or a cache elsewhere has it.

        Nothing old if it is `disabled`.
        """
        disabled = disabled or self._disabled
        made = self._find_here(key, self._since if disabled else 0.0)
        made = made or (None if disabled else self._find_elsewhere(key))
        if made is not None:
            self.cached += 1
            self._use(key, made)
        return made

    def _use(self, key: Key, made: StepLayer) -> None:
        self.used.setdefault(key.digest, CachedStep(key.digest, made.layer, made.time_ns))

    def _find_elsewhere(self, key: Key) -> StepLayer | None:
        step = self.imports.find(key.digest) if self.imports else None
        if step is None:
            return None
        self.used[key.digest] = step
        made = StepLayer(step.layer, step.time_ns)
        self._found.append(_record(key, made))
        return made

    def leaving(self) -> list[CachedStep]:
        """The steps of this build for a cache that is written, under all keys known, in a fixed order."""
        found = dict(self.used)
        for key, step in self.used.items():
            for record in self.store.steps.beside(key) if step.layer else ():
                again = step.replace(key=record.key, time_ns=_time(record.config_json))
                found.setdefault(record.key, again)
            for other in self.imports.beside(step):
                found.setdefault(other.key, other)
        return [found[key] for key in sorted(found)]

    def settle(self) -> None:
        """Keep the steps that a cache elsewhere had, as far as their layers have come."""
        found, self._found = self._found, []
        missing = set(self.store.trees.missing([one.diff_id for one in found if one.diff_id]))
        for record in found:
            if record.diff_id not in missing:
                self.store.steps.put(record)

    def _find_here(self, key: Key, since: float) -> StepLayer | None:
        record = self.store.steps.get(key.digest)
        if record is None or record.created < since:
            return None
        layer = (record.layer, record.diff_id) if record.layer and record.diff_id else None
        if layer:
            form = self._form_here(*layer)
            if form is None:
                return None
            layer = (form, layer[1])
        self.store.steps.touch(record.key)
        return StepLayer(layer, _time(record.config_json))

    def is_new(self, key: Key) -> bool:
        """Whether the step was never done before, on whatever layers, as far as that can be known."""
        return self._disabled or not (self.imports or self.was_done(key))

    def was_done(self, key: Key) -> bool:
        """Whether the step was done here before this build, on whatever layers."""
        return key.elsewhere in self._elsewhere

    def knows(self, key: Key) -> bool:
        """Whether a step with this key was kept, even where it may not be used."""
        return self.store.steps.get(key.digest) is not None

    @cached_property
    def _elsewhere(self) -> set[str]:
        """All steps kept before this build, whatever they stood on."""
        return {apart(record.inputs_json) for record in self.store.steps.all()} - {""}

    def _form_here(self, layer: Descriptor, diff_id: Digest) -> Descriptor | None:
        """The layer of a step with its tree, None if it is gone.

        One that another version of nacre has compressed, and that cannot be made again as it was, is
        compressed anew: what the step did need not be done again for that.
        """
        from ...images.layers.compressed import is_here

        store = self.store
        if not store.trees.has(diff_id):
            if not store.blobs.has(layer.digest):
                return None
            from ...images.layers.ingest import ensure_tree

            ensure_tree(store, layer, diff_id)
        if is_here(store, layer) or store.layers.sources(layer.digest):
            return layer
        return self._compressed_anew(layer, diff_id) if store.trees.can_tar(diff_id) else None

    def _compressed_anew(self, layer: Descriptor, diff_id: Digest) -> Descriptor:
        from ...grammars.codecs.stream import media_codec
        from ...images.layers.ingest import add_layer

        with self.store.trees.tar(diff_id) as tar:
            codec = media_codec(layer.media_type) or "none"
            return add_layer(self.store, tar, codec, expected=diff_id)[0]

    def keep(self, key: Key, made: StepLayer, *, own: bool = False) -> StepLayer:
        """Keep what a step made that had to be done.

        What another build has made meanwhile wins over it, unless it must be its `own`.
        """
        self.ran += 1
        self.store.leases.current().add("step", key.digest)  # the step above may not have read it yet
        made = self._put(key, made, own=own)
        if made.layer:
            self.made.add(made.layer[1])
        return made

    def _put(self, key: Key, made: StepLayer, *, own: bool) -> StepLayer:
        if self._disabled or own:
            self.alias(key, made)
            return made
        first = self.store.steps.put_first(_record(key, made))
        layer = (first.layer, first.diff_id) if first.layer and first.diff_id else None
        made = StepLayer(layer, _time(first.config_json))
        self._use(key, made)
        return made

    def alias(self, key: Key, made: StepLayer) -> None:
        """Keep it under a further key."""
        self.note(key, made)
        self._use(key, made)

    def note(self, key: Key, made: StepLayer) -> None:
        """Keep that it was made once, under a key that finds nothing: see `knows`."""
        if self.keeps:
            self.store.steps.put(_record(key, made))


def _record(key: Key, made: StepLayer) -> StepRecord:
    layer, diff_id = made.layer or (None, None)
    return StepRecord(key.digest, key.parent, layer, diff_id, dumps({"time_ns": made.time_ns}), key.inputs)


def _time(text: str) -> int:
    try:
        return int(loads(text)["time_ns"])
    except (ValueError, KeyError, TypeError):
        return 0
