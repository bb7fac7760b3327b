"""The management API as a handler of requests.

400   not understood: a parameter, a query or a body that the document does not allow
401   nobody, or wrong credentials            403   somebody who may not; nothing is told of what there is
404   no such thing                           405   no such method       409   what is there does not allow it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from msgspec import MsgspecError, Struct
from starlette.responses import Response

from ....grammars.management import openapi
from ....grammars.management.operations import ADMINISTRATOR, ONESELF, PARAMETERS, ApiOperation, find
from ....grammars.wire import JSON
from ....grammars.wire.errors import Code, refusal
from ....grammars.wire.routes import Endpoint, Route
from ....stores.accounts.model import Role
from ....words.errors import Conflict, NacreError, NotFound, RegistryError, Unsupported, UsageError
from ..access.identity import keep
from ..access.own import is_oneself
from ..answers import answer
from ..applications import answering
from ..bodies import Body
from ..clients import check_origin
from .backups import BackupCalls
from .call import ManagementCall, is_administrator
from .content import ContentCalls
from .own import OwnCalls
from .people import PeopleCalls
from .replications import ReplicationCalls
from .rights import RightsCalls
from .upkeep import UpkeepCalls

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from ..access.identity import Identity
    from ..app import Registry
    from .call import Handler

_MOST_BODY = 1 << 20
_KINDS: tuple[tuple[type[NacreError], Code], ...] = (
    (UsageError, Code.REQUEST_INVALID), (NotFound, Code.NOT_FOUND), (Conflict, Code.CONFLICT),
    (Unsupported, Code.REQUEST_INVALID),
)  # fmt: skip


def application(registry: Registry) -> ASGIApp:
    """The management API of a registry."""
    return answering(Management(registry).respond)


class Management:
    """The management API of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._authorization = registry, registry.authorization
        self._handlers: dict[str, Handler] = {"getDocument": _document}
        upkeep = UpkeepCalls(registry)
        registry.at_end.append(upkeep.close)
        for part in (
            PeopleCalls(registry.state),
            OwnCalls(registry.state),
            RightsCalls(registry.state),
            ContentCalls(registry.state),
            upkeep,
            ReplicationCalls(registry, upkeep.running),
            BackupCalls(registry.state),
        ):
            self._handlers |= part.handlers

    @property
    def operations(self) -> set[str]:
        """The names of those that are handled."""
        return set(self._handlers)

    async def respond(self, request: Request) -> Response:
        """Answer a request. Raises RegistryError."""
        found = find(request.scope.get("raw_path", b"").decode("latin-1"))
        if found is None:
            raise refusal(Code.NOT_FOUND, "no such path in the management API")
        method = "GET" if request.method == "HEAD" else request.method
        operation = found.methods.get(method)
        if operation is None:
            raise _no_method(found.methods)
        try:
            return await self._answer(request, operation, found.parameters)
        except MsgspecError as error:
            raise refusal(Code.REQUEST_INVALID, str(error)) from None
        except NacreError as error:
            raise _refusal(error) from error

    async def _answer(self, request: Request, operation: ApiOperation, given: dict[str, str]) -> Response:
        identity = await self._identify(request, operation)
        parameters = {name: _parameter(name, text) for name, text in given.items()}
        if identity:
            _check_role(operation, parameters, identity)
        rates = self._registry.state.rates
        more = rates.check(request, Route(Endpoint.BASE)) if rates else ()
        query = _query(request, operation)
        call = ManagementCall(request, parameters, query, await _body(request, operation))
        said = await self._handlers[operation.name](call)
        if request.method not in ("GET", "HEAD"):
            self._authorization.changed()
        response = said if isinstance(said, Response) else _response(request, operation, said)
        response.raw_headers.extend(more)
        return response

    async def _identify(self, request: Request, operation: ApiOperation) -> Identity | None:
        """Who asks; None in a registry without accounts, if the operation is for it."""
        if request.method not in ("GET", "HEAD"):
            check_origin(request)
        if not self._authorization.is_closed:
            if not operation.open:
                raise _unmanaged()
            return None
        identity = await self._authorization.identify(request)
        if identity is None:
            raise _challenged("the credentials are not valid")
        keep(request, identity)
        if operation.needs == ADMINISTRATOR and not is_administrator(identity):
            raise _denied(identity, "only administrators may do this, without a token that is limited")
        if operation.needs == ONESELF and not is_oneself(identity):
            raise _denied(identity, "one's own account is changed with one's own password alone")
        return identity


def _check_role(operation: ApiOperation, parameters: dict[str, Any], identity: Identity) -> None:
    """Raises RegistryError unless they have the role where the path says."""
    if operation.needs in ("", ADMINISTRATOR, ONESELF):
        return
    place = parameters.get("repository") or parameters["namespace"]
    if not identity.may(Role.parse(operation.needs), place):
        raise _denied(identity, f"this needs the role {operation.needs} in {place}")


async def _document(call: ManagementCall) -> bytes:
    return openapi.encoded()


def _parameter(name: str, text: str) -> Any:
    found = msgspec.convert(text, PARAMETERS[name], strict=False)
    _check_text(found)
    return found


def _query(request: Request, operation: ApiOperation) -> Any:
    """As its record. Raises MsgspecError, RegistryError."""
    pairs = request.query_params.multi_items()
    values = dict(pairs)
    if len(values) != len(pairs):
        raise refusal(Code.REQUEST_INVALID, "a parameter of the query stands there twice")
    if operation.query is None:
        if values:
            raise refusal(Code.REQUEST_INVALID, f"no such parameter of the query: {next(iter(values))[:100]}")
        return None
    found = msgspec.convert(values, operation.query, strict=False)
    _check_texts(found)
    return found


async def _body(request: Request, operation: ApiOperation) -> Any:
    """As its record. Raises MsgspecError, RegistryError."""
    if operation.body is None:
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise refusal(Code.UNSUPPORTED, "a body of the type application/json was expected", status=415)
    data = await Body.of(request).read(_MOST_BODY)
    try:
        found = msgspec.json.decode(data, type=operation.body)
    except (RecursionError, UnicodeDecodeError):
        raise refusal(Code.REQUEST_INVALID, "the body is no JSON") from None
    _check_texts(found)
    return found


def _check_texts(record: Struct) -> None:
    """No text may hold what a database cannot: NUL, and halves of characters. Raises RegistryError."""
    for value in msgspec.structs.asdict(record).values():
        for each in _parts(value):
            _check_text(each)


def _parts(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return list(value) if isinstance(value, list) else [value]


def _check_text(value: object) -> None:
    if isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise refusal(Code.REQUEST_INVALID, "a text holds a character that is none")


def _response(request: Request, operation: ApiOperation, said: object) -> Response:
    body = said if isinstance(said, bytes) else b"" if said is None else msgspec.json.encode(said)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if following := getattr(said, "next", ""):
        query = urlencode({**dict(request.query_params.items()), "last": following})
        headers["Link"] = f'<{request.scope["raw_path"].decode("latin-1")}?{query}>; rel="next"'
    if request.method == "HEAD":
        headers["Content-Length"], body = str(len(body)), b""
    return answer(operation.status, headers, body, JSON if operation.answer else "")


def _no_method(known: dict[str, ApiOperation]) -> RegistryError:
    names = [*(["HEAD"] if "GET" in known else []), *known]
    error = refusal(Code.UNSUPPORTED, f"only {', '.join(sorted(names))} are supported here")
    error.headers["Allow"] = ", ".join(sorted(names))
    return error


def _challenged(why: str) -> RegistryError:
    error = refusal(Code.UNAUTHORIZED, why)
    error.headers["WWW-Authenticate"] = 'Basic realm="Nacre registry", charset="UTF-8"'
    return error


def _denied(identity: Identity, why: str) -> RegistryError:
    return refusal(Code.DENIED, why) if identity.account else _challenged("")


def _unmanaged() -> RegistryError:
    error = refusal(Code.DENIED, "this registry has no accounts, so nobody administers it from elsewhere")
    error.hint = "on its machine: nacre registry user add --admin NAME"
    return error


def _refusal(error: NacreError) -> NacreError:
    """What whoever asks is told; everything else is the operator's business."""
    for kind, code in _KINDS:
        if isinstance(error, kind):
            told = refusal(code, error.message)
            told.hint = error.hint
            return told
    return error
