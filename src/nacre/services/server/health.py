"""`/healthz` and `/readyz`: does the process answer, and should it get requests?

200 or 503, with the state of each part. A registry that is told to end is not ready from then on, so that
whoever hands requests out sends them elsewhere. One whose disk is full is ready: it serves, and deletes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...grammars.wire import JSON
from ...words.errors import DiskFull, NacreError
from ...words.oci import encode_json
from .answers import answer
from .applications import answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from .app import Registry

LIVE, READY = "/healthz", "/readyz"
PATIENCE = 5.0
"""Seconds after which a part that does not answer counts as failed."""
_OK, _FULL, _FAILED, _SILENT = "ok", "full", "failed", "no answer"


def application(registry: Registry) -> ASGIApp:
    """The probes of a registry."""
    return answering(Health(registry).respond)


class Health:
    """Asks the parts of a registry, each once at a time however many ask."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        store = registry.state.store
        self._checks: dict[str, Callable[[], object]] = {
            "catalog": lambda: store.catalog.exists("-"),
            "storage": lambda: store.storage.check(),
            "disk": store.check_room,
        }
        self._told: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[str]] = {}

    async def respond(self, request: Request) -> Response:
        """Answer a probe, by what the parts say."""
        if request.url.path == LIVE:
            return _said(200, {"status": _OK})
        parts = dict(zip(self._checks, await asyncio.gather(*map(self._part, self._checks)), strict=True))
        failed = any(state in (_FAILED, _SILENT) for state in parts.values())
        status = _FAILED if failed else "stopping" if self._registry.is_stopping else _OK
        return _said(200 if status == _OK else 503, {"status": status, "parts": parts})

    async def _part(self, name: str) -> str:
        asked = self._asked.get(name)
        if asked is None:
            asked = self._asked[name] = asyncio.ensure_future(
                self._registry.state.work.run(self._state_of, name)
            )
            asked.add_done_callback(lambda _: self._asked.pop(name))
        done, _ = await asyncio.wait({asked}, timeout=PATIENCE)
        return asked.result() if done else _SILENT

    def _state_of(self, name: str) -> str:
        """Why a part fails is for the operator's log, once, and not for whoever asks."""
        state, why = _OK, ""
        try:
            self._checks[name]()
        except DiskFull:
            state = _FULL
        except (NacreError, OSError) as error:
            state, why = _FAILED, str(error)
        if why and why != self._told.get(name):
            self._registry.note(f"error: not ready: {name}: {why}")
        self._told[name] = why
        return state


def _said(status: int, said: dict[str, object]) -> Response:
    return answer(status, {"Cache-Control": "no-store"}, encode_json(said), JSON)
