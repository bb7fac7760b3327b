"""The error codes of the protocol, their HTTP statuses and their JSON bodies.

    body   = { "errors": [ error, … ] }
    error  = { "code": CODE, "message": text, "detail": anything }

Source: distribution-spec v1.1, "Error Codes"; statuses, and the codes it does not name (RANGE_INVALID,
PAGINATION_NUMBER_INVALID, UNKNOWN, UNAVAILABLE), as docker's registry gives them; PRECONDITION_FAILED
is ours, and REQUEST_INVALID, NOT_FOUND and CONFLICT are those of the management API.
"""

from __future__ import annotations

import json
from enum import Enum

from ...words.errors import RegistryError
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BODY = 64 * 1024
"""Most bytes of an error body that are worth reading."""
_MAX_PROBLEMS = 16
_MAX_TEXT = 1000


class Code(Enum):
    """An error code: its `name` is what travels; the value is (HTTP status, message when none is given).

    The messages are not those of the specification: docker shows of such an error the code alone, and
    repeats a push that is denied (distribution, registry/api/errcode, Errors.UnmarshalJSON).
    """

    BLOB_UNKNOWN = (404, "there is no such blob")
    BLOB_UPLOAD_INVALID = (400, "blob upload invalid")
    BLOB_UPLOAD_UNKNOWN = (404, "there is no such upload, or no longer")
    DIGEST_INVALID = (400, "provided digest did not match uploaded content")
    MANIFEST_BLOB_UNKNOWN = (404, "manifest references a manifest or blob unknown to registry")
    MANIFEST_INVALID = (400, "manifest invalid")
    MANIFEST_UNKNOWN = (404, "there is no such manifest")
    MANIFEST_UNVERIFIED = (400, "manifest failed signature verification")
    NAME_INVALID = (400, "invalid repository name")
    NAME_UNKNOWN = (404, "there is no such repository")
    SIZE_INVALID = (400, "provided length did not match content length")
    TAG_INVALID = (400, "manifest tag did not match")
    RANGE_INVALID = (416, "invalid content range")
    PRECONDITION_FAILED = (412, "what is there is not what the request expects")
    PAGINATION_NUMBER_INVALID = (400, "invalid number of results requested")
    UNAUTHORIZED = (401, "log in first")
    DENIED = (403, "you have no right to do this here")
    UNSUPPORTED = (405, "the operation is unsupported")
    TOOMANYREQUESTS = (429, "too many requests: try again later")
    REQUEST_INVALID = (400, "invalid request")
    NOT_FOUND = (404, "there is no such thing")
    CONFLICT = (409, "what is there does not allow this")
    UNKNOWN = (500, "unknown error")
    UNAVAILABLE = (503, "service unavailable")

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code unless the place says otherwise."""
        return self.value[0]

    @property
    def text(self) -> str:
        """The message when there is none more to the point."""
        return self.value[1]


class Problem(Value):
    """One error of a body. `code` need not be one of Code: registries invent their own."""

    code: str
    message: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """`CODE: message (detail)`, as far as there is something to say."""
        text = ": ".join(part for part in (self.code, self.message) if part)
        return f"{text} ({self.detail})" if self.detail else text


def refusal(code: Code, message: str = "", *, status: int = 0) -> RegistryError:
    """The exception by which this side of the protocol says no; `status` 0 is that of the code."""
    return RegistryError(message or code.text, status=status or code.status, code=code.name)


def encode(code: str, message: str, detail: Any = None) -> bytes:
    """The body for one error."""
    error = {"code": code, "message": message} | ({"detail": detail} if detail is not None else {})
    return json.dumps({"errors": [error]}, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def decode(body: bytes) -> tuple[Problem, ...]:
    """The errors of a body, () if it is none of the protocol's (a proxy's HTML page, say). Never raises."""
    try:
        fields = json.loads(body[:MAX_BODY])
    except (ValueError, RecursionError):
        return ()
    entries = fields.get("errors") if isinstance(fields, dict) else None
    found = [_problem(entry) for entry in entries[:_MAX_PROBLEMS]] if isinstance(entries, list) else []
    return tuple(problem for problem in found if problem is not None)


def _problem(entry: object) -> Problem | None:
    if not isinstance(entry, dict):
        return None
    detail = entry.get("detail")
    texts = (entry.get("code"), entry.get("message"), _plain(detail))
    return Problem(*(_clean(text) for text in texts))


def _plain(detail: object) -> object:
    """Docker Hub puts a sentence into `detail`, docker's registry an object: both are worth showing."""
    return detail if isinstance(detail, str) or not detail else json.dumps(detail)


def _clean(text: object) -> str:
    """One printable line: what a registry says ends on a terminal."""
    if not isinstance(text, str):
        return ""
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT]).strip()
