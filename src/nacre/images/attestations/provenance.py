"""How an image was made: SLSA provenance v1, or v0.2, with BuildKit's fields.

Nothing in it changes from one build to the next of the same: neither times nor an id of the run, which
both versions leave to the builder. BuildKit's definition of the steps is its LLB; `max` has the steps of
nacre in its place, under another name. Source: BuildKit's docs/attestations/slsa-definitions.md.
"""

from __future__ import annotations

import json
from base64 import b64encode

from ...grammars.dockerfile.namedcontext import TARGET_IMAGE
from ...grammars.packages.package import Package
from ...words.digest import Digest
from ...words.errors import Unsupported
from ...words.oci import Platform
from ...words.reference import Reference
from .packageurls import image_url, package_url
from .wanted import MAX, MIN, PROVENANCE, V02, AttestationOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .materials import BuildMaterials, BuildRequest, DefinedStep

    Known = Callable[[str, Digest], Digest]
    """Called with the name of an image and its manifest; the digest that the name means in its registry."""

_TYPE, _TYPE_02 = (
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
    "https://mobyproject.org/buildkit@v1",
)
PREDICATE, PREDICATE_02 = "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"
_PRIVATE = ("build-arg:", "label:")
_ONLY_MAX = ("buildConfig", "metadata")
_OWN = ("host:", TARGET_IMAGE)
"""Before the names of bases that nobody else can have: of this machine, or of another target of a bake."""


def provenance(
    options: AttestationOptions, request: BuildRequest, materials: BuildMaterials, known: Known
) -> tuple[str, bytes]:
    """The type and the JSON of the predicate. Raises Unsupported where what must be complete is not."""
    facts = _Facts(options, request, materials, known)
    if options.complete and not facts.is_complete:
        raise Unsupported(
            f"provenance materials are incomplete: {', '.join(facts.locals)} is of this machine",
            hint="build from a repository or a URL",
        )
    fields = facts.version_02() if options.version == V02 else facts.version_1()
    data = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return (PREDICATE_02 if options.version == V02 else PREDICATE), data


def metadata(mode: str, request: BuildRequest, materials: BuildMaterials, known: Known) -> bytes:
    """JSON of the predicate in the older version, as buildx puts it into a file about a build.

    `mode` min has neither the steps nor its metadata. Source: buildx, build/provenance.go.
    """
    fields = _Facts(AttestationOptions(PROVENANCE, MAX, V02), request, materials, known).version_02()
    kept = {name: value for name, value in fields.items() if mode == MAX or name not in _ONLY_MAX}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


class _Facts:
    """The parts that both versions have, under other names."""

    def __init__(
        self, options: AttestationOptions, request: BuildRequest, materials: BuildMaterials, known: Known
    ) -> None:  # fmt: skip
        self._options, self._request, self._materials = options, request, materials
        self.dependencies = [*self._images(known), *self._fetched()]
        own = [name for name, _, _ in materials.images if name.startswith(_OWN)]
        self.locals = [*request.locals, *own]
        self.is_complete = not self.locals
        self._is_hermetic = self.is_complete and not materials.networked
        self._platform = str(Platform.host())

    def _images(self, known: Known) -> list[dict[str, Any]]:
        found = []
        for name, platform, manifest in self._materials.images:
            if name.startswith(_OWN):
                continue
            kind, _, rest = name.rpartition("oci-layout://")
            reference = Reference.parse(rest) if not kind and rest == name else None
            url = image_url("docker", reference, platform) if reference else _layout_url(rest, platform)
            digest = reference.digest if reference and reference.digest else known(name, manifest)
            found.append({"uri": url, "digest": {digest.algorithm: digest.hex}})
        return sorted(found, key=lambda one: str(one["uri"]))

    def _fetched(self) -> list[dict[str, Any]]:
        source = self._request.source
        own = ((source,) if source[1] else ()) if source[0] else ()
        installed = [
            (package_url(Package("pypi", name, version), ("", "")), f"sha256:{digest}")
            for name, version, digest in self._materials.packages
        ]
        pairs = [*own, *self._materials.repositories, *self._materials.urls, *installed]
        return [{"uri": url, "digest": _digests(digest)} for url, digest in dict(pairs).items()]

    def _parameters(self) -> dict[str, Any]:
        """What was asked for."""
        arguments = dict(self._request.arguments)
        if self._options.mode == MIN:
            arguments = {key: value for key, value in arguments.items() if not key.startswith(_PRIVATE)}
        found: dict[str, Any] = {"frontend": self._request.frontend}
        if arguments:
            found["args"] = dict(sorted(arguments.items()))
        if self._options.mode == MAX:
            for name, ids in (("secrets", self._materials.secrets), ("ssh", self._materials.agents)):
                found |= {name: [{"id": key} for key in ids]} if ids else {}
        if self.locals:
            found["locals"] = [{"name": name} for name in self.locals]
        return found

    @property
    def _tells_all(self) -> bool:
        hidden = any(key.startswith(_PRIVATE) for key, _ in self._request.arguments)
        return self._options.mode == MAX or not hidden

    def _source(self, path: str) -> dict[str, Any]:
        url, digest = self._request.source
        found: dict[str, Any] = {"uri": url} if url else {}
        if digest:
            found["digest"] = _digests(digest)
        return found | {path: self._request.file}

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._request.versioned:
            found["vcs"] = dict(self._request.versioned)
        if self._options.mode == MAX and self._request.text:
            text = self._request.text.encode("utf-8", "surrogateescape")
            info = {
                "filename": self._request.file, "language": "Dockerfile", "data": b64encode(text).decode()
            }  # fmt: skip
            found["source"] = {"infos": [info]}
        if self._options.mode == MAX:
            found |= self._mapped(found.get("source", {}))
        return found

    def _mapped(self, source: dict[str, Any]) -> dict[str, Any]:
        """Where the steps of the definition stand in the Dockerfile, and which layers they added."""
        steps = self._materials.definition
        places = {step.name: _location(step) for step in steps if step.lines[0]}
        layers = {
            f"{step.name}:0": [[layer.replace(platform=None).to_json() for layer in step.layers]]
            for step in steps if step.layers
        }  # fmt: skip
        found: dict[str, Any] = {"source": {"locations": places, **source}} if places else {}
        return found | ({"layers": layers} if layers else {})

    def _definition(self) -> dict[str, Any]:
        """The steps, each with a digest over what it is and those of its inputs; {} where none is told."""
        if self._options.mode != MAX or not self._materials.definition:
            return {}
        digests: dict[str, str] = {}
        rows = []
        for step in self._materials.definition:
            row = _described(step)
            inputs = [digests[name] for name in step.inputs]
            text = json.dumps([{**row, "id": ""}, inputs], sort_keys=True, separators=(",", ":"))
            digests[step.name] = str(Digest.of(text.encode()))
            rows.append(row)
        mapping = {digest: name for name, digest in digests.items()}
        return {"buildConfig": {"definition": rows, "digestMapping": mapping}}

    def version_1(self) -> dict[str, Any]:
        """The predicate as SLSA v1 has it."""
        metadata: dict[str, Any] = {"buildkit_metadata": self._metadata()}
        if self._is_hermetic:
            metadata["buildkit_hermetic"] = True
        metadata["buildkit_completeness"] = {
            "request": self._tells_all, "resolvedDependencies": self.is_complete
        }  # fmt: skip
        if self._options.reproducible:
            metadata["buildkit_reproducible"] = True
        definition = {
            "buildType": _TYPE,
            "externalParameters": {"configSource": self._source("path"), "request": self._parameters()},
            "internalParameters": {**self._definition(), "builderPlatform": self._platform},
            "resolvedDependencies": self.dependencies,
        }
        run = {"builder": {"id": self._options.builder_id}, "metadata": metadata}
        return {"buildDefinition": definition, "runDetails": run}

    def version_02(self) -> dict[str, Any]:
        """The predicate as SLSA v0.2 has it."""
        metadata: dict[str, Any] = {
            "completeness": {
                "parameters": self._tells_all, "environment": True, "materials": self.is_complete,
            },
            "reproducible": self._options.reproducible,
            f"{_TYPE_02}#metadata": self._metadata(),
        }  # fmt: skip
        if self._is_hermetic:
            metadata[f"{_TYPE_02}#hermetic"] = True
        invocation = {
            "configSource": self._source("entryPoint"), "parameters": self._parameters(),
            "environment": {"platform": self._platform},
        }  # fmt: skip
        return {
            "builder": {"id": self._options.builder_id}, "buildType": _TYPE_02,
            "materials": self.dependencies, "invocation": invocation, **self._definition(),
            "metadata": metadata,
        }  # fmt: skip


def _described(step: DefinedStep) -> dict[str, Any]:
    found = {
        "id": step.name, "source": step.source, "instruction": step.instruction, "stage": step.stage,
        "platform": step.platform, "inputs": [f"{name}:0" for name in step.inputs],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _location(step: DefinedStep) -> dict[str, Any]:
    """The lines of a step, in the form of BuildKit's pb.Locations."""
    first, last = step.lines
    return {"locations": [{"ranges": [{"start": {"line": first}, "end": {"line": last}}]}]}


def _layout_url(name: str, platform: Platform | None) -> str:
    """An image of a layout is named by the end of its path, without the rest of this machine."""
    return image_url("oci", Reference.parse(name.partition("@")[0].rpartition("/")[2].lower()), platform)


def _digests(digest: str) -> dict[str, str]:
    """A digest, or the name of a commit."""
    algorithm, colon, hexadecimal = digest.partition(":")
    if not colon:
        algorithm, hexadecimal = "sha256" if len(digest) == 64 else "sha1", digest
    return {algorithm: hexadecimal}
