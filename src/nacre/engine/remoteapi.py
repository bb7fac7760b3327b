"""Asks a registry elsewhere over its management API, with the user's login."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ..grammars.management.operations import BY_NAME, ApiOperation
from ..grammars.management.records import MOST_ENTRIES, ErrorAnswer
from ..words.errors import (
    Conflict,
    NacreError,
    NotFound,
    RegistryError,
    TooLarge,
    Unsupported,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

    from ..grammars.management import records as r
    from ..services.client import Client
    from ..services.client.download import BlobReader
    from ..services.client.transport import Response

_MOST_ANSWER = 16 << 20
_MOST_PAGES = 10_000
_ANY = range(200, 600)
_OURS = (400, 401, 403, 404, 405, 409)
"""Refusals whose reason the registry gives."""
_PIECE = 1 << 20
_FIRST, _LONGEST = 0.05, 2.0
"""Seconds between two looks at a run."""
_JSON = {"Content-Type": "application/json"}
_KINDS: dict[str, type[NacreError]] = {
    "NOT_FOUND": NotFound, "CONFLICT": Conflict, "REQUEST_INVALID": UsageError,
}  # fmt: skip


class RegistryApi:
    """Of the registry at `url`: `https://HOST[:PORT]`, or `HOST[:PORT]` as in the name of an image.

    No request is sent yet. Raises UsageError.
    """

    def __init__(self, client: Client, url: str) -> None:
        self._session = client.session(url)
        self._session.auth.expect_basic()
        self.registry = self._session.registry

    def ask(
        self, name: str, body: Mapping[str, Any] | None = None, query: Mapping[str, Any] | None = None,
        **place: str | int,
    ) -> Any:  # fmt: skip
        """Ask for the operation `name`: the record that answers, None where there is none.

        Raises NotFound, Conflict, UsageError as the registry does; Unauthorized, Unreachable, RegistryError.
        """
        from urllib.parse import urlencode

        from msgspec import json

        from ..services.client.retry import Policy, Retry
        from ..services.client.transport import Request

        operation = BY_NAME[name]
        target = operation.target(**place) + (f"?{urlencode(query)}" if query else "")
        data = json.encode(body or {}) if operation.body else None
        request = Request(operation.method, target, _JSON if operation.body else {}, data)
        once = Retry(Policy(attempts=1)) if operation.method != "GET" else None
        with self._session.open(request, "its management API", ok=_ANY, retry=once) as response:
            said = response.read_all(_MOST_ANSWER, "the answer")
            if response.status != operation.status:
                raise self._refusal(response.status, said)
        return self._read(operation, said)

    def _read(self, operation: ApiOperation, said: bytes) -> Any:
        """The record, its texts fit for a terminal."""
        from msgspec import MsgspecError, convert, json

        if operation.answer is None:
            return None
        try:
            return convert(_printable(json.decode(said)), operation.answer)
        except (MsgspecError, RecursionError) as error:
            raise RegistryError(f"{self.registry} answers {operation.name} with something else") from error

    def content(self, name: str, size: int, **place: str | int) -> BlobReader:
        """The `size` bytes that an operation answers with, resumed where they break off; close it.

        Raises as `ask`, when it is read.
        """
        from ..services.client.download import BlobReader

        target = BY_NAME[name].target(**place)
        what = f"{self.registry}{target}"
        return BlobReader(lambda headers: self._once(target, headers), what, size, 0, self._session.retry())

    def save(self, name: str, path: str, most: int) -> None:
        """Write what an operation answers with, at most `most` bytes, to the new file `path`.

        It is verified by the checksum that the registry gives. Raises as `ask`, and TooLarge, StoreError.
        """
        from ..services.client.retry import Transient

        response = self._session.attempt(lambda: self._once(BY_NAME[name].target(), {}))
        with response:
            length = response.length
            if length is None or length > most:
                raise TooLarge(f"{self.registry} answers {name} with {length} bytes, over {most}")
            try:
                found = _written(response, path)
            except Transient as failure:
                raise failure.error from None
        if found != (length, response.headers.get("repr-digest", "")):
            raise RegistryError(f"{self.registry} answers {name} with other content than its checksum says")

    def _once(self, target: str, headers: Mapping[str, str]) -> Response:
        """One attempt at a GET whose answer is content. Raises Transient for what may pass."""
        from ..services.client.transport import Request

        ok = (200, 206, *_OURS)
        response = self._session.once(Request("GET", target, dict(headers)), target, ok=ok)
        if response.status not in _OURS:
            return response
        with response:
            raise self._refusal(response.status, response.read_all(_MOST_ANSWER, "the answer"))

    def pages(self, name: str, field: str, query: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """The entries of a list, page by page. Raises as `ask`."""
        last = ""
        for _ in range(_MOST_PAGES):
            page = self.ask(name, None, {"n": MOST_ENTRIES, **(query or {}), "last": last})
            yield from getattr(page, field)
            if not page.next or page.next == last:
                return
            last = page.next
        raise RegistryError(f"{self.registry} lists {field} endlessly")

    def _refusal(self, status: int, said: bytes) -> NacreError:
        """What the registry says no by, as the error that its own command would raise."""
        from msgspec import MsgspecError, convert, json

        try:
            first = convert(_printable(json.decode(said)), ErrorAnswer).errors[0]
        except (MsgspecError, RecursionError, IndexError):
            return self._no_api(status)
        if status == 401:
            return self._session.auth.refused(f"{self.registry}: {first.message}")
        if status in (404, 405) and first.code not in _KINDS:
            return self._no_api(status)
        hint = first.detail.hint if first.detail else ""
        if kind := _KINDS.get(first.code):
            return kind(first.message, hint=hint)
        return RegistryError(f"{self.registry}: {first.message}", status=status, code=first.code, hint=hint)

    def _no_api(self, status: int) -> NacreError:
        what = f"{self.registry} does not offer the management API of registries (status {status})"
        return Unsupported(what)


class RemotePart:
    """A part of what a registry elsewhere is asked for. It may be used with `with`, as one in a folder."""

    def __init__(self, api: RegistryApi) -> None:
        self._api = api

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def _finished(self, name: str, body: Mapping[str, Any] | None = None, **place: str | int) -> r.RunRecord:
        """The run that the operation `name` begins, when it is over.

        Raises as `ask`, and RegistryError unless it ended well.
        """
        run: r.RunRecord = self._api.ask(name, body, None, **place)
        pause = _FIRST
        while run.state == "running":
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST)
            run = self._api.ask("getRun", run=run.id)
        if run.state != "done":
            registry = self._api.registry
            raise RegistryError(f"{registry}: {run.kind}: {run.error or 'its process has ended'}")
        return run


def _written(response: Response, path: str) -> tuple[int, str]:
    """How many bytes came, and their SHA-256 as RFC 9530 writes it."""
    from base64 import b64encode
    from hashlib import sha256

    from ..ground.files import os_errors

    hashing, size = sha256(), 0
    with os_errors(f"write {path}"), open(path, "xb", opener=_private) as file:
        while data := response.read(_PIECE):
            file.write(data)
            hashing.update(data)
            size += len(data)
    return size, f"sha-256=:{b64encode(hashing.digest()).decode()}:"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _printable(value: Any, more: str = "") -> Any:
    """As what came, every text on a line without control characters but those of `more`."""
    if isinstance(value, str):
        return "".join(char if char.isprintable() or char in more else " " for char in value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_printable(name): _printable(each, _LINES.get(name, "")) for name, each in value.items()}
    return value


_LINES = {"readme": "\n\r\t"}
"""Fields that are pages of text."""
