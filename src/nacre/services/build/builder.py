"""A build is a fold: every step takes (state, layers) and gives (state', layers').

    plan ─▶ for each stage needed: base ─▶ step ─▶ step ─▶ … ─▶ config + layers ─▶ image ─▶ names
                                             │
                             key ─▶ kept? ───┴─ yes: CACHED    no: run or copy, keep under the key

Nothing of a build that fails is visible: layers of steps that succeeded are kept as cache, names and
image appear at the end, and what a failed step wrote is gone. Builds hold a lease while they work.
"""

from __future__ import annotations

from functools import cached_property

from ...ground.files import surely
from ...images.dockerfile.plan import source_date_epoch
from ...images.model.edit import make_manifest, write_image
from ...images.model.image import Image
from ...images.model.proxies import proxy_variables
from ...images.model.schema import converted
from ...stores import caches
from ...words.errors import InvalidName, NacreError
from ...words.oci import OCI, Descriptor
from ...words.progress import NullProgress
from ...words.reference import Reference
from ...words.value import Value
from .cache import Cache
from .checks import BuildChecks, planned_build
from .context import BuildContext
from .filehash import FileHashes
from .report import BuildReport
from .scratch import ScratchDirectory
from .stage import StageBuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...grammars.dockerfile.checks import LintWarning
    from ...grammars.dockerfile.instructions import Instruction
    from ...images.dockerfile.fold import Fold
    from ...images.dockerfile.plan import Plan, StagePlan
    from ...images.model.limits import Limits
    from ...stores.store import Store
    from ...words.oci import Platform
    from ...words.progress import Progress
    from .downloads import Downloads, Fetch
    from .inputs import Inputs
    from .layers import Layers
    from .report import StepReport
    from .stageprogress import StageProgress

    Resolve = Callable[[str, Platform | None], Image]


_SECOND = 1_000_000_000


class BuildOptions(Value):
    """Wishes for one build. `network` is host or none.

    `hosts` are lines `NAME:ADDRESS` for /etc/hosts of every RUN. `secrets` are (id, content): RUN
    --mount=type=secret shows them, no layer and no cache key has them. `form` is the kind of manifest
    (`images.model.schema`). `shm_size` 0 is the default. `limits` (None for none) and `ulimits` are for every
    RUN.
    """

    target: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    tags: tuple[Reference, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    no_cache: bool = False
    platform: Platform | None = None
    network: str = "host"
    hosts: tuple[str, ...] = ()
    shm_size: int = 0
    secrets: tuple[tuple[str, bytes], ...] = ()
    form: str = OCI
    limits: Limits | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()


class BuildResult(Value):
    """The image, and how many steps had to be done (`ran`) or existed already (`cached`)."""

    image: Image
    ran: int
    cached: int


class Builder:
    """Builds images into one store.

    `resolve(name, platform)` gives the image that a FROM or a --from names, `fetch(url)` what an ADD of a URL
    copies; the builder itself knows neither registries nor a client. `proxies` are variables that every RUN
    gets, in both spellings, and that are no part of a cache key; arguments of the same names win over them.
    """

    def __init__(
        self, store: Store, resolve: Resolve, fetch: Fetch, progress: Progress | None = None, *,
        proxies: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._store, self._resolve, self._fetch = store, resolve, fetch
        self._progress = progress or NullProgress()
        self._proxies = dict(proxies or {})

    def build(self, inputs: Inputs, options: BuildOptions | None = None) -> BuildResult:
        """Build an image and set its names, or raise and leave none.

        Raises DockerfileError, BuildFailed, NotFound, Unsupported, UsageError, StoreError,
        SandboxError and whatever `resolve` raises. What `fetch` raises becomes a DockerfileError.
        """
        options = options or BuildOptions()
        for tag in options.tags:
            _check_tag(tag)
        report = BuildReport(self._progress)
        hashes = FileHashes(caches.tables(self._store.root), inputs.folder)
        with self._store.leases.hold(), BuildContext(inputs.folder, inputs.ignore, hashes) as context:
            session = BuildSession(self._store, self._resolve, self._fetch, report, context, options)
            session.read(inputs, self._proxies)
            try:
                standing = session.build()
            finally:
                surely(session.close)
            image = _finish(self._store, standing, options, report)
        return BuildResult(image, session.cache.ran, session.cache.cached)


def _check_tag(tag: Reference) -> None:
    if tag.digest is not None:
        raise InvalidName(f"invalid tag {str(tag)!r}: refusing to create a tag with a digest reference")


def _finish(store: Store, standing: StageProgress, options: BuildOptions, report: BuildReport) -> Image:
    """Write the image and set the names, unless they are as they should be already."""
    config = standing.config(dict(options.labels))
    layers = [descriptor for descriptor, _ in standing.layers]
    step = report.step("exporting to image")
    manifest, _ = make_manifest(config, layers)
    made = converted((Descriptor.of(manifest.encode(), manifest.media_type), manifest.encode()), options.form)
    descriptor = write_image(store, config, layers, media_type=made[0].media_type)
    step.line(f"writing image {manifest.config.digest}")
    for tag in map(str, options.tags):
        if store.refs.get(tag) != descriptor:
            store.refs.set(tag, descriptor)
        step.line(f"naming to {tag}")
    step.done()
    return Image.load(store, descriptor)


class BuildSession:
    """One build at work: what its stages share."""

    plan: Plan
    fold: Fold
    clamp: int | None
    undated_ns: int
    checks: BuildChecks
    proxies: tuple[tuple[str, str], ...]
    warned = False

    def __init__(
        self,
        store: Store,
        resolve: Resolve,
        fetch: Fetch,
        report: BuildReport,
        context: BuildContext,
        options: BuildOptions,
    ) -> None:
        self.store, self.report, self.context, self.options = store, report, context, options
        self.caches = caches.mounts(store.root)
        self.cache = Cache(store, options.no_cache)
        self._resolve, self._fetch = resolve, fetch
        self._stages: dict[int, StageProgress] = {}
        self._images: dict[tuple[str, Platform | None], Image] = {}
        self._opened: list[Layers | ScratchDirectory | Downloads] = []
        store.actives.keep_roots()

    def opened(self, layers: Layers) -> Layers:
        """Close it at the end of the build."""
        self._opened.append(layers)
        return layers

    @cached_property
    def scratch(self) -> str:
        """A folder for this build, made when it is first needed."""
        scratch = ScratchDirectory(self.store)
        self._opened.append(scratch)
        return scratch.path

    @cached_property
    def downloads(self) -> Downloads:
        """What this build fetches."""
        from .downloads import Downloads

        downloads = Downloads(self.store, self._fetch)
        self._opened.append(downloads)
        return downloads

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        while self._opened:
            self._opened[-1].close()
            self._opened.pop()
        self.store.actives.drop_roots()

    def read(self, inputs: Inputs, proxies: Mapping[str, str]) -> None:
        """Parse and plan; must come first."""
        step = self._definition = self.report.step(f"[internal] load build definition from {inputs.name}")
        try:
            self._read(inputs, proxies, step)
        except NacreError as error:
            step.failed(error.message)
            raise
        step.done()

    def _read(self, inputs: Inputs, proxies: Mapping[str, str], step: StepReport) -> None:
        arguments = dict(self.options.arguments)
        self.plan, self.fold = planned_build(inputs, self.options)
        self.clamp = source_date_epoch(self.plan)
        self.undated_ns = inputs.time_ns
        self.proxies = tuple(proxy_variables(proxies, arguments).items())
        self._check(inputs)
        for name in self.plan.unused():
            unknown = name.startswith("BUILDKIT_")
            why = "ignored: it is not supported" if unknown else "was not consumed: no ARG of {} declares it"
            step.line(f"WARNING: build-arg {name} {why.format(inputs.name)}")

    def _check(self, inputs: Inputs) -> None:
        """Tell what is wrong in the file, or fail for it where the file wants that."""
        self.checks = BuildChecks(self.plan, self.fold, inputs)
        self.warn(self.checks.of_file())
        if self.checks.are_errors:
            self.warn(self.checks.of_stages(self.plan.needed, self._base))
            self.checks.fail()

    def _base(self, planned: StagePlan) -> Image:
        platform = planned.platform or self.options.platform
        return self.image(planned.base.name, platform, planned.stage.base)

    def warn(self, warnings: Sequence[LintWarning]) -> None:
        """Tell what is wrong in the Dockerfile."""
        for warning in warnings:
            self._definition.line(f"WARN: {warning}")

    @property
    def epoch_ns(self) -> int | None:
        """SOURCE_DATE_EPOCH in nanoseconds; None without."""
        return None if self.clamp is None else self.clamp * _SECOND

    def build(self) -> StageProgress:
        """Build the target stage and the stages that it needs. Raises NacreError."""
        for index in self.plan.needed:
            self.stage(index)
        return self.stage(self.plan.target)

    def stage(self, index: int) -> StageProgress:
        """A stage, built once."""
        if index not in self._stages:
            self._stages[index] = StageBuild(self, self.plan.stages[index]).build()
        return self._stages[index]

    def image(self, name: str, platform: Platform | None, item: Instruction) -> Image:
        """An image by name, looked for once, its trees all here."""
        key = (name, platform)
        if key not in self._images:
            try:
                image = self._resolve(name, platform)
            except InvalidName as error:
                raise item.error(error.message, hint=error.hint) from None
            self._ensure_trees(image)
            self._images[key] = image
        return self._images[key]

    def _ensure_trees(self, image: Image) -> None:
        missing = set(self.store.trees.missing(image.diff_ids))
        for layer in image.layers if missing else ():
            if layer.diff_id in missing:
                from ...images.layers.ingest import ensure_tree

                ensure_tree(self.store, layer.descriptor, layer.diff_id)
