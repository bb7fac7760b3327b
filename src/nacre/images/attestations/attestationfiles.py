"""Attestations as files beside those of an image: sbom.spdx.json and provenance.json, as BuildKit's local
exporter.

They speak of each file of the image. Of several images in one folder each has its platform in the name.
"""

from __future__ import annotations

import os

from ...grammars.tar.entry import Entry
from ...ground.files import write_atomic
from ...words.digest import Digest, Verifier
from ...words.errors import UsageError
from ...words.value import Value
from .statement import statement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..model.image import Image
    from .wanted import Predicate

_MODE = 0o600
_CHUNK = 1 << 20


class AttestationFile(Value):
    """A file: its path in the output, and its content."""

    path: str
    data: bytes

    def write(self, folder: str) -> None:
        """Into a folder that is there; the file appears whole. Raises StoreError."""
        path = os.path.join(folder, self.path)
        write_atomic(path, self.data)

    def member(self) -> tuple[Entry, bytes]:
        """As a member of a tar."""
        return Entry(self.path.encode(), "file", _MODE, size=len(self.data)), self.data


def attestation_files(
    image: Image, predicates: Sequence[Predicate], name: tuple[str, str, str]
) -> Iterator[AttestationFile]:  # fmt: skip
    """Those of one image; `name` is (folder, prefix, mark of the platform). Raises UsageError, NotFound."""
    if not predicates:
        return
    folder, prefix, mark = name
    subjects = list(_subjects(image))
    taken = {path for path, _ in subjects}
    for predicate in predicates:
        stem, dot, ending = predicate.file.rpartition(".")
        file = f"{prefix}{stem}.{mark}{dot}{ending}" if mark else prefix + predicate.file
        if file in taken:
            raise UsageError(
                f"the image has a file {file}, as the attestation is called",
                hint="give the output an attestation-prefix",
            )
        yield AttestationFile(os.path.join(folder, file), statement(subjects, predicate, indent=2))


def _subjects(image: Image) -> Iterator[tuple[str, Digest]]:
    for found in image.walk():
        if found.kind == "file":
            verifier = Verifier()
            with found.open() as file:
                while data := file.read(_CHUNK):
                    verifier.update(data)
            yield found.path.decode("utf-8", "replace"), verifier.verify()
