"""What each step of the last build was made of, so that the next one can say why it is not in the cache.

One small file for each Dockerfile, target and platform, beside the tables of files that were hashed. It may
go at any time. A build that changes nothing does not write it.

    {"version": 1, "digest": of what the last build came to, "steps": [[STAGE, LINE, TEXT, RECORD, DONE], …]}
"""

from __future__ import annotations

import os

from ...stores.caches import keep_newest
from ...words.digest import sha256
from ...words.quickjson import dumps, loads
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_VERSION = 1
_PREFIX = "steps-"
_KEPT = 200
_MAX = 8 << 20


class StepPlace(Value):
    """Which instruction of which stage: `text` as it is written."""

    stage: str
    line: int
    text: str


class StepInputs(Value):
    """A step of the last build: the record of its key, and whether it came to its end."""

    place: StepPlace
    record: str
    done: bool


class BuildHistory:
    """The steps of the last build and of this one. `identity` is what is built, and for what."""

    def __init__(self, folder: str, identity: str) -> None:
        digest = sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
        self._folder, self._path = folder, f"{folder}/{_PREFIX}{digest[:32]}"
        self._before: list[StepInputs] | None = None
        self._now: dict[StepPlace, StepInputs] = {}

    def note(self, place: StepPlace, record: str, *, done: bool) -> None:
        """What a step of this build is made of."""
        self._now[place] = StepInputs(place, record, done)

    def news(self) -> list[StepInputs]:
        """What was noted since the last call: for `learn`, in another process."""
        news = list(self._now.values())
        self._now = {}
        return news

    def learn(self, news: list[StepInputs]) -> None:
        """Note what another process has noted."""
        self._now.update((one.place, one) for one in news)

    @property
    def is_known(self) -> bool:
        """Whether there was a build before."""
        return bool(self._steps())

    def before(self, place: StepPlace, texts: Collection[str]) -> StepInputs | None:
        """The same instruction in the last build, else the one that stood there; None for a new one.

        `texts` are all instructions of the stage as it is now.
        """
        stage = [one for one in self._steps() if one.place.stage == place.stage]
        same = [one for one in stage if one.place.text == place.text]
        if not same:
            name = place.text.partition(" ")[0]
            lost = [one for one in stage if one.place.text not in texts]
            same = [one for one in lost if one.place.text.partition(" ")[0] == name]
        return min(same, key=lambda one: abs(one.place.line - place.line), default=None)

    def _steps(self) -> list[StepInputs]:
        if self._before is None:
            self._before = _read(self._path)
        return self._before

    def save(self, texts: Collection[str]) -> None:
        """Write what is new. What is known of other steps stays as long as they are among `texts`."""
        digest = sha256(_text(self._now).encode()).hexdigest()
        head = f'{{"version":{_VERSION},"digest":"{digest}"'
        if not self._now or self._begins(head):
            return
        now = {(place.stage, place.text) for place in self._now}
        kept = {one.place: one for one in self._steps() if one.place.text in texts}
        text = _text({at: one for at, one in kept.items() if (at.stage, at.text) not in now} | self._now)
        if len(text) > _MAX:
            return
        name = os.path.basename(self._path)
        keep_newest(self._folder, name, f'{head},"steps":{text}}}'.encode(), kind=_PREFIX, most=_KEPT)

    def _begins(self, head: str) -> bool:
        """Whether the file is as it should be."""
        try:
            with open(self._path, "rb") as file:
                return file.read(len(head)) == head.encode()
        except OSError:
            return False


def _text(steps: dict[StepPlace, StepInputs]) -> str:
    rows = sorted([*place._astuple(), one.record, one.done] for place, one in steps.items())
    return dumps(rows)


def _read(path: str) -> list[StepInputs]:
    try:
        with open(path, "rb") as file:
            found = loads(file.read(_MAX + 1024))
        if found["version"] != _VERSION:
            return []
        return [StepInputs(StepPlace(*row[:3]), str(row[3]), bool(row[4])) for row in found["steps"]]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return []
