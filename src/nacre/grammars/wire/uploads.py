"""The life of a blob upload, as a table that both sides keep to.

    POST ──► OPEN ◄──────────────┐
              │ PATCH begins     │ body ends, or is lost on the way (what came is kept)
              ▼                  │
            RECEIVING ───────────┘
              │
    PUT: OPEN ► CLOSING ─ digest right ─► DONE (201)
                  │ digest wrong, or the body lost: back to OPEN or to GONE (404 from then on)
    DELETE, or too long idle: OPEN ► GONE

Source: distribution-spec v1.1, "Pushing blobs". One request at a time writes to an upload: the spec
demands order, and two writers would mix their bytes.
"""

from __future__ import annotations

from enum import Enum

from .errors import Code, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .ranges import Span


class UploadState(Enum):
    """Where an upload stands."""

    OPEN = "open"
    RECEIVING = "receiving"
    CLOSING = "closing"
    DONE = "done"
    GONE = "gone"


class Event(Enum):
    """What happens to an upload."""

    PATCH = "a chunk begins"
    PUT = "the last request begins"
    REST = "the chunk ended or broke off"
    BREAK = "the last request broke off"
    COMMIT = "the digest is right"
    REFUSE = "the digest is wrong"
    CANCEL = "cancelled or expired"


TRANSITIONS: Mapping[tuple[UploadState, Event], UploadState] = {
    (UploadState.OPEN, Event.PATCH): UploadState.RECEIVING,
    (UploadState.OPEN, Event.PUT): UploadState.CLOSING,
    (UploadState.OPEN, Event.CANCEL): UploadState.GONE,
    (UploadState.RECEIVING, Event.REST): UploadState.OPEN,
    (UploadState.CLOSING, Event.BREAK): UploadState.OPEN,
    (UploadState.CLOSING, Event.COMMIT): UploadState.DONE,
    (UploadState.CLOSING, Event.REFUSE): UploadState.GONE,
}
ENDS = frozenset({UploadState.DONE, UploadState.GONE})
"""States that nothing leaves; to a client such an upload does not exist."""


def after(state: UploadState, event: Event) -> UploadState:
    """The next state. Raises RegistryError: BLOB_UPLOAD_UNKNOWN (404) when the upload has ended,
    BLOB_UPLOAD_INVALID (409) when another request is writing to it.
    """
    if state in ENDS:
        raise refusal(Code.BLOB_UPLOAD_UNKNOWN)
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise refusal(Code.BLOB_UPLOAD_INVALID, "another request is writing to this upload", status=409)
    return found


def check_chunk(span: Span | None, offset: int, length: int | None) -> int | None:
    """How many bytes the body of a chunk must have, None if unknown.

    `span` is its Content-Range, `offset` what the upload holds, `length` its Content-Length. Raises
    RegistryError RANGE_INVALID (416) for a chunk out of order, SIZE_INVALID when its headers disagree.
    """
    if span is None:
        return length
    if span.start != offset:
        raise refusal(Code.RANGE_INVALID, f"chunk begins at {span.start}, but the upload has {offset} bytes")
    if length is not None and length != span.length:
        raise refusal(Code.SIZE_INVALID, f"chunk of {length} bytes claims to be {span.length} bytes long")
    return span.length
