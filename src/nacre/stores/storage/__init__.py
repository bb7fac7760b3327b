"""Where a registry keeps content: one protocol, two places.

    protocol   what a registry asks of the place
    local      a folder, as a store has it
    objects    a bucket of an object store (S3 and compatible, Google Cloud, Azure), through obstore
    uploads    what is being sent to a bucket
    bucket     the bucket itself: its requests, retried, and its failures as ours
    rows       which object holds which content: in the catalog of the registry

A registry in a folder loads nothing of `objects`, `uploads` and `bucket`.
"""

from .protocol import ContentReader, Located, Placed, Storage, UploadWriter

__all__ = ["ContentReader", "Located", "Placed", "Storage", "UploadWriter"]
