"""Where the HTTP server hands a request over: a known answer is sent at once, others come from the loop.

Granian calls `schedule` in a thread of its own when the head of a request is there. By itself it wakes the
loop, makes a task and lets two coroutines run; that takes longer than most answers, so it is done only where
something has to be waited for. Its joint for that is private, and known for the versions that are named here.
With others granian's own is used, and every answer comes from the loop.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import granian
from granian import _granian
from granian._granian import CallbackScheduler
from granian.server.embed import AsyncWorker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from .known import KnownAnswers

_VERSIONS = ("2.8.",)


class _Scheduler(CallbackScheduler):
    """Granian's, which calls `schedule` for each request. That must not raise: nobody would look."""

    def __init__(self, _loop: object, schedule: Callable[[Any], None], *_unused: object) -> None:
        super().__init__()
        self._schedule_fn = schedule


def spawning(app: ASGIApp, known: KnownAnswers | None) -> Any:
    """What granian is to start its worker with, None for its own."""
    if known is None or not granian.__version__.startswith(_VERSIONS):
        return None
    wrap: Any = AsyncWorker.wrap_target
    return wrap(_Spawning(app, known).run)


class _Spawning:
    """Starts a worker that serves `app`, and what is `known` without it."""

    def __init__(self, app: ASGIApp, known: KnownAnswers) -> None:
        self._app, self._known = app, known

    async def run(
        self, number: int, stop: Any, _target: object, sockets: Any, loop: asyncio.AbstractEventLoop,
        *settings: Any,
    ) -> None:  # fmt: skip
        """Until `stop` is set."""
        *threads, _tasks, http, http1, http2, websockets, static, _log, tls, _scope = settings
        ended = loop.create_future()
        stop.add_cb(lambda: loop.call_soon_threadsafe(ended.set_result, None))
        more = (*threads, http, http1, http2, websockets, static, *tls, (None, None))
        worker_class: Any = _granian.ASGIWorker
        worker = worker_class(number, sockets, None, *more)
        worker.serve_async(self._scheduler(loop), loop, stop)
        await ended

    def _scheduler(self, loop: asyncio.AbstractEventLoop) -> _Scheduler:
        send, context = self._known.send, copy_context()

        def begin(watcher: Any) -> None:
            watcher.taskref(loop.create_task(self._answer(watcher)))

        def schedule(watcher: Any) -> None:
            try:
                if not send(watcher.scope, watcher.proto.send):
                    loop.call_soon_threadsafe(begin, watcher, context=context)
            except Exception as error:
                watcher.err(error)

        return _Scheduler(loop, schedule, None, None, None)

    async def _answer(self, watcher: Any) -> None:
        scope, protocol = watcher.scope, watcher.proto
        scope["root_path"], scope["state"] = "", {}
        try:
            await self._app(scope, protocol.receive, protocol.send)
        except BaseException as error:
            watcher.err(error)
        else:
            watcher.done()
