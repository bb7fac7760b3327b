"""Attestations of a build: its images looked at, and what was asked for told in BuildKit's words."""

from __future__ import annotations

from ..grammars.dockerfile.namedcontext import image_of, is_url, redacted, repository_of
from ..images.attestations.materials import CONTEXT, BuildMaterials, BuildRequest
from ..images.attestations.wanted import SBOM, Predicate
from ..words.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..images.attestations.wanted import AttestationOptions
    from ..images.model.image import Image
    from ..services.build import BuildOptions, BuildReport, BuildResult, Inputs
    from ..words.digest import Digest
    from . import Engine

_FILES = {SBOM: "sbom.spdx.json"}
_USUAL = "provenance.json"
_PROJECTS = "nacre.python"
_SCANNED = "BUILDKIT_SBOM_SCAN_"


def attest(
    engine: Engine, inputs: Inputs, options: BuildOptions, results: list[BuildResult], report: BuildReport
) -> list[BuildResult]:
    """The results with what is said of each image. Raises Unsupported, NotFound, StoreError."""
    maker = _Attesting(engine, inputs, options, report)
    return [
        result.replace(materials=None, predicates=maker.of(result), provenance=maker.metadata(result))
        for result in results
    ]


class _Attesting:
    """The attestations of one build."""

    def __init__(self, engine: Engine, inputs: Inputs, options: BuildOptions, report: BuildReport) -> None:
        self._engine, self._options, self._report = engine, options, report
        source = redacted(inputs.source[0]), inputs.source[1]
        request = BuildRequest(
            tuple(_arguments(options)), tuple(_locals(inputs)), source, inputs.name, inputs.dockerfile,
            tuple(_versioned(inputs)),
        )  # fmt: skip
        self._request = request.replace(frontend=_PROJECTS) if inputs.is_project else request

    def of(self, result: BuildResult) -> tuple[Predicate, ...]:
        """All that is said of one image, in the order in which it was asked for."""
        found = []
        for each in self._options.attestations:
            made = self._sbom(result.image) if each.kind == SBOM else self._provenance(each, result)
            file = each.file or _FILES.get(each.kind, _USUAL)
            found.append(Predicate(*made, file, each.inline_only))
        return tuple(found)

    def _sbom(self, image: Image) -> tuple[str, bytes]:
        from ..images.attestations.inventory import take_inventory
        from ..images.attestations.spdx import PREDICATE_TYPE, spdx_document

        platform = f"[{image.config.platform}] " if self._report.names_platforms else ""
        step = self._report.step(f"{platform}generating sbom")
        step.begin()
        if _SCANNED in self._request.text:
            step.line(f"WARNING: {_SCANNED}… has no effect: only the result is looked at")
        inventory = take_inventory(image)
        for remark in inventory.remarks:
            step.line(f"WARNING: {remark}")
        data = spdx_document(image, inventory)
        step.line(f"{len(inventory.packages)} packages")
        step.done()
        return PREDICATE_TYPE, data

    def metadata(self, result: BuildResult) -> bytes:
        """What a file about the build has of provenance; nothing where the library is not installed."""
        if not self._options.metadata:
            return b""
        try:
            from ..images.attestations.provenance import metadata
        except ImportError:
            return b""
        return metadata(self._options.metadata, self._request, self._materials(result), self._known)

    def _provenance(self, options: AttestationOptions, result: BuildResult) -> tuple[str, bytes]:
        from ..images.attestations.provenance import provenance

        return provenance(options, self._request, self._materials(result), self._known)

    def _materials(self, result: BuildResult) -> BuildMaterials:
        materials = result.materials or BuildMaterials()
        urls = tuple((redacted(url), digest) for url, digest in materials.urls)
        steps = tuple(one.replace(source=self._place(one.source)) for one in materials.definition)
        return materials.replace(urls=urls, definition=steps)

    def _place(self, source: str) -> str:
        """What a step takes from: the context by its URL, if it has one, and no password of any."""
        is_context = source == CONTEXT and self._request.source[0]
        return self._request.source[0] if is_context else redacted(source)

    def _known(self, name: str, manifest: Digest) -> Digest:
        """The digest of a name in its registry: of the one index known to hold the manifest, or its own."""
        if "://" in name:
            return manifest
        found = self._engine.store.refs.digests(Reference.parse(name).name, manifest)
        indexes = [digest for digest in found if digest != manifest]
        return indexes[0] if len(indexes) == 1 else manifest


def _arguments(options: BuildOptions) -> Iterator[tuple[str, str]]:
    """The options that change the result, under the names that BuildKit's frontend has for them."""
    yield from ((f"build-arg:{key}", value) for key, value in options.arguments)
    yield from ((f"label:{key}", value) for key, value in options.labels)
    for name, value in options.contexts:
        remote = image_of(value) is not None or repository_of(value) or is_url(value)
        yield f"context:{name}", redacted(value) if remote else f"local:{name}"
    plain = {
        "target": options.target, "add-hosts": ",".join(line.replace(":", "=", 1) for line in options.hosts),
        "force-network-mode": options.network if options.network != "host" else "",
        "shm-size": str(options.shm_size or ""), "no-cache": ",".join(options.no_cache_filter),
        "ulimit": ",".join(f"{name}={soft}:{hard}" for name, soft, hard in options.ulimits),
    }  # fmt: skip
    yield from ((name, value) for name, value in plain.items() if value)


def _locals(inputs: Inputs) -> Iterator[str]:
    """What of this machine it was made from."""
    if not inputs.source[0]:
        yield "context"
        if not inputs.is_project:
            yield "dockerfile"


def _versioned(inputs: Inputs) -> list[tuple[str, str]]:
    """What git says of a folder."""
    if inputs.source[0] or inputs.files is not None:
        return []
    from ..services.build.checkout import Checkout

    found = Checkout.find(inputs.folder, "")
    return found.described() if found else []
