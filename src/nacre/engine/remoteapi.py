"""Asks a registry elsewhere over its management API, with the user's login."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..grammars.management.operations import BY_NAME, ApiOperation
from ..grammars.management.records import MOST_ENTRIES, ErrorAnswer
from ..words.errors import Conflict, NacreError, NotFound, RegistryError, Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..services.client import Client

_MOST_ANSWER = 16 << 20
_MOST_PAGES = 10_000
_ANY = range(200, 600)
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


def _printable(value: Any) -> Any:
    """As what came, every text on a line without control characters."""
    if isinstance(value, str):
        return "".join(char if char.isprintable() else " " for char in value)
    if isinstance(value, list):
        return [_printable(each) for each in value]
    if isinstance(value, dict):
        return {_printable(name): _printable(each) for name, each in value.items()}
    return value
