"""in-toto statements: what a predicate says, and of which things. By in-toto-attestation."""

from __future__ import annotations

import json

from google.protobuf.json_format import MessageToDict
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement

from ...words.reference import Reference
from .packageurls import image_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...words.digest import Digest
    from ...words.oci import Platform
    from .wanted import Predicate

    Subject = tuple[str, Digest]


def image_subjects(names: Sequence[str], digest: Digest, platform: Platform | None) -> list[Subject]:
    """An image under each of its names, or under none."""
    urls = [image_url("docker", Reference.parse(name), platform) for name in names]
    return [(url, digest) for url in urls] or [("_", digest)]


def statement(subjects: Sequence[Subject], predicate: Predicate, *, indent: int | None = None) -> bytes:
    """The statement, as JSON. The predicate stays as it was written."""
    things = [
        ResourceDescriptor(name=name, digest={digest.algorithm: digest.hex}).pb for name, digest in subjects
    ]
    content = json.loads(predicate.data)
    head = Statement(things, predicate.type, dict.fromkeys(content))
    head.validate()
    fields = {key: value for key, value in MessageToDict(head.pb).items() if key not in ("type", "predicate")}
    whole = {"_type": head.pb.type, **fields, "predicate": content}
    separators = (",", ":") if indent is None else None
    return json.dumps(whole, ensure_ascii=False, indent=indent, separators=separators).encode()
