"""Which attestations a build is to make, and what comes of it."""

from __future__ import annotations

from ...words.errors import UsageError
from ...words.value import Value

SBOM, PROVENANCE = KINDS = ("sbom", "provenance")
MIN, MAX = MODES = ("min", "max")
V1, V02 = VERSIONS = ("v1", "v0.2")


class AttestationOptions(Value):
    """One attestation: `kind` sbom or provenance. The rest is for provenance.

    `mode` max has the build arguments, labels, the Dockerfile and the ids of secrets; min has not.
    `version` is that of
    SLSA, v1 or v0.2. `builder_id` names who builds. `reproducible` says that the result is meant to be.
    `inline_only`: not in files that are written as a folder or tar. `complete`: fail unless all materials
    are known. `file` is the name of the file in such an output, "" the usual one.
    """

    kind: str
    mode: str = MAX
    version: str = V1
    builder_id: str = ""
    reproducible: bool = False
    inline_only: bool = False
    complete: bool = False
    file: str = ""

    def _check(self) -> None:
        for name, known in (("kind", KINDS), ("mode", MODES), ("version", VERSIONS)):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(
                    f"unknown {name} of an attestation: {value[:80]!r}", hint=f"use {' or '.join(known)}"
                )
        if "/" in self.file or self.file in (".", ".."):
            raise UsageError(f"{self.file!r} is not the name of a file for an attestation")


class Predicate(Value):
    """What an attestation says of an image: `data` is JSON of the type `type`, `file` as in the options."""

    type: str
    data: bytes
    file: str
    inline_only: bool = False
