"""SOURCE_DATE_EPOCH: the latest time that anything in an image may bear.

    a number     seconds since 1970
    ""           none: files bear the times at which they were written
    context      the commit of a checkout or repository, the newest file of a tar; none for another folder
    STAGE        what one ADD of a URL or a git repository fetches in that stage, which has nothing else

Source: BuildKit's docs/build-repro.md, and the notes of dockerfile/1.24.

Where nothing says so, files of a git checkout bear the time of the last commit that changed what a COPY
takes, and what a RUN writes is not later than the newest input before it: the same input has one digest.
"""

from __future__ import annotations

import os

from ...grammars.dockerfile.glob import has_wildcard
from ...images.dockerfile.fold import CopyAction, is_url, start
from ...images.dockerfile.plan import keeping_times
from ...words.errors import UsageError
from ...words.light import cached_property
from .checkout import Checkout
from .select import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...images.dockerfile.plan import StagePlan
    from ...words.errors import NacreError
    from .inputs import Inputs
    from .items import CopySource
    from .select import Selection
    from .session import BuildSession

_NAME = "SOURCE_DATE_EPOCH"
_SECOND = 1_000_000_000
_EARLIEST = 315532800
"""1980: a base image of an earlier date says nothing of its time, and ZIP has none before."""


def resolved(session: BuildSession, text: str, inputs: Inputs) -> int | None:
    """What it says, in seconds. Raises UsageError, DockerfileError and what fetching raises."""
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    if text == "context":
        return _of_context(session, inputs)
    found = next((one for one in session.plan.stages if one.stage.name == text.lower()), None)
    if found is None:
        raise UsageError(
            f"invalid {_NAME} {text[:80]!r}: expected seconds since 1970, context or the name of a stage"
        )
    return _of_stage(session, found)


def _of_context(session: BuildSession, inputs: Inputs) -> int | None:
    if inputs.files is None:
        checkout = Checkout.find(inputs.folder, session.scratch) if inputs.scratch is None else None
        return checkout.time() if checkout else None
    files = [item for one in select(inputs.files, "/") for _, item in one.files if item.kind != "dir"]
    return max((item.mtime_ns // _SECOND for item in files), default=None)


def _of_stage(session: BuildSession, planned: StagePlan) -> int | None:
    """The time of what the only ADD of a stage fetches."""
    base = planned.stage.base
    if not planned.base.is_scratch:
        raise base.error(f"{_NAME} stage must use FROM scratch", base.base)
    state, actions = start(None), []
    for item in planned.stage.instructions:
        if item.name not in ("ADD", "ARG"):
            raise item.error(f"{_NAME} stage has only one ADD, and ARG: unsupported {item.name} instruction")
        state, step = session.fold.advance(state, item)
        if isinstance(step.action, CopyAction):
            actions.append(step.action)
    if len(actions) != 1 or len(actions[0].sources) != 1 or actions[0].contents:
        raise base.error(f"{_NAME} stage must contain exactly one remote ADD")
    time_ns = _fetched(session, planned, actions[0])
    return time_ns // _SECOND if time_ns else None


def _fetched(session: BuildSession, planned: StagePlan, action: CopyAction) -> int:
    def blame(error: NacreError) -> NacreError:
        return planned.stage.base.error(error.message, hint=error.hint)

    source = action.sources[0]
    repository = action.repositories[0] if action.repositories else None
    if repository:
        session.clone(repository, blame)
        return session.repositories.select(repository, ()).newest
    if not is_url(source):
        raise planned.stage.base.error(f"{_NAME} stage source must be a single HTTP(S) or Git ADD")
    session.download(source, action.checksum, blame)
    return session.downloads.select(source, action.checksum, 0).newest


class FileTimes:
    """Which times the files of one build get where no epoch is given; `usual` False: those that they have."""

    def __init__(self, session: BuildSession, inputs: Inputs, *, usual: bool) -> None:
        self._session, self._inputs, self._usual = session, inputs, usual
        self._keeping = keeping_times(session.plan)

    def is_bound(self, stage: int) -> bool:
        """Whether the times of a stage follow from its inputs."""
        return self._usual and stage not in self._keeping

    def latest(self, stage: int, time_ns: int) -> int | None:
        """The latest time in seconds of what a RUN writes whose newest input has the time `time_ns`."""
        if self._session.clamp is not None:
            return self._session.clamp
        seconds = time_ns // _SECOND
        return seconds if seconds >= _EARLIEST and self.is_bound(stage) else None

    @property
    def undated_ns(self) -> int:
        """The time of what is made from the Dockerfile alone: that of the Dockerfile."""
        path = os.path.join(self._inputs.folder, self._inputs.name)
        if self._usual and self._checkout and os.path.basename(path).encode() in self._committed:
            return (self._checkout.time([path]) or 0) * _SECOND or self._inputs.time_ns
        return self._inputs.time_ns

    @cached_property
    def _checkout(self) -> Checkout | None:
        if self._inputs.scratch is not None or self._inputs.files is not None:
            return None
        return Checkout.find(self._inputs.folder, self._session.scratch)

    @cached_property
    def _committed(self) -> frozenset[bytes]:
        return self._checkout.committed(self._inputs.folder) if self._checkout else frozenset()

    @cached_property
    def _folders(self) -> frozenset[bytes]:
        found: set[bytes] = set()
        for path in self._committed:
            while (path := path.rpartition(b"/")[0]) and path not in found:
                found.add(path)
        return frozenset(found)

    def newest(
        self, stage: int, source: CopySource, chosen: Sequence[Selection], words: Sequence[str]
    ) -> int:
        """The newest time of what is copied. What is as in its commit has the time of that.

        In a stage that keeps its times the files themselves have their own all the same.
        """
        if not self._usual or source is not self._session.context or self._checkout is None:
            return max([one.newest for one in chosen], default=0)
        kept = [(item, item.mtime_ns) for one in chosen for _, item in one.files]
        self._date(chosen, words, self._checkout)
        newest = max([one.newest for one in chosen], default=0)
        if not self.is_bound(stage):
            for item, time_ns in kept:
                item.mtime_ns = time_ns
        return newest

    def _date(self, chosen: Sequence[Selection], words: Sequence[str], checkout: Checkout) -> None:
        """Give files of the context the time of their commit, if they are as in it."""
        folder, ignore = os.path.realpath(self._inputs.folder), self._inputs.ignore
        paths = [os.path.normpath(f"{folder}/{_fixed(word)}") for word in words]
        excluded = [] if ignore.has_exceptions else [f"{folder}/{one}" for one in ignore.patterns]
        time = checkout.time(paths, excluded)
        for item in (item for one in chosen for _, item in one.files) if time else ():
            if item.path in self._committed or (item.kind == "dir" and item.path in self._folders):
                item.mtime_ns = (time or 0) * _SECOND


def limit_times(chosen: Sequence[Selection], limit_ns: int) -> None:
    """Let no file be later than that."""
    for item in (item for one in chosen for _, item in one.files) if limit_ns >= _EARLIEST * _SECOND else ():
        item.mtime_ns = min(item.mtime_ns, limit_ns)


def _fixed(word: str) -> str:
    """What of a source has no wildcard."""
    parts = word.split("/")
    end = next((at for at, part in enumerate(parts) if has_wildcard(part)), len(parts))
    return "/".join(parts[:end]).lstrip("/")
