"""The OCI distribution protocol without input or output, shared by the client and the server.

    routes   paths ⇄ (endpoint, repository, reference), which methods each endpoint knows
    errors   the error codes, their statuses and JSON bodies
    ranges   HTTP's `bytes=0-9`, `bytes 0-9/100` and the registry's own `0-9`
    uploads  the life of a blob upload, as a table
    auth     challenges and tokens
    links    `Link: <…>; rel="next"`
    warning  what a user should be told

Source: opencontainers/distribution-spec v1.1, spec.md; for what it leaves open, what docker's
registry and client do. This package holds the names of the headers that both sides use.
"""

from __future__ import annotations

from ...words.oci import DOCUMENT_TYPES

API_VERSION = "Docker-Distribution-Api-Version"
API_VERSION_VALUE = "registry/2.0"
CONTENT_DIGEST = "Docker-Content-Digest"
UPLOAD_UUID = "Docker-Upload-UUID"
OCI_SUBJECT = "OCI-Subject"
OCI_FILTERS_APPLIED = "OCI-Filters-Applied"
OCI_TAG = "OCI-Tag"
WARNING = "Warning"
OCI_CHUNK_MIN_LENGTH = "OCI-Chunk-Min-Length"

OCTETS = "application/octet-stream"
JSON = "application/json"
ACCEPT_DOCUMENTS = ", ".join(DOCUMENT_TYPES)
"""The `Accept` of a client that takes every kind of manifest and index."""
