"""A registry, asked by its name, into one that is served: its repositories, tags, and what refers to them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from threading import Lock

from ..grammars.config.mirrors import MirrorEntry
from ..images.arrows.mirroring import FAILED, Outcome, Rules
from ..words.errors import InvalidName, NotFound, RegistryError, UsageError
from ..words.reference import Reference, registry_name
from ..words.value import Value
from .transfers import mirror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..words.progress import Progress
    from .wiring import Wiring


class MirrorReport(Value):
    """How many repositories were looked at, what became of their tags, and how many bytes moved.

    `kept` are tags that somebody else has given another meaning at the target. `failed` counts what could not
    be listed, too.
    """

    repositories: int = 0
    copied: int = 0
    unchanged: int = 0
    kept: int = 0
    failed: int = 0
    moved: int = 0


class RegistryImport:
    """From the registry `source` (`[docker://]HOST[:PORT]`) to `target`, which may have a namespace after."""

    def __init__(self, engine: Wiring, source: str, target: str, tell: Callable[[Outcome], object]) -> None:
        self._engine, self._tell, self._lock = engine, tell, Lock()
        self._source, below = _place(source)
        if below:
            raise UsageError(f"{source} is more than a registry", hint="choose repositories by patterns")
        registry, self._below = _place(target)
        self._target = f"{registry}/{self._below}/" if self._below else f"{registry}/"
        if not self._below and registry == self._source:
            raise UsageError(f"{source} and {target} are the same registry")
        self._report = MirrorReport()

    def run(self, patterns: Sequence[str], progress: Progress | None = None) -> MirrorReport:
        """Bring the repositories that match, all without patterns. Raises RegistryError, StoreError."""
        for repository in self._repositories(patterns):
            self._count(repositories=1)
            entry = self._entry(repository)
            if entry:
                mirror(self._engine, (entry,), Rules(keep=True), self._hear, progress)
        return self._report

    def _repositories(self, patterns: Sequence[str]) -> list[str]:
        """Names without patterns in them are not looked for: few registries list what they have."""
        named = [pattern for pattern in patterns if not set(pattern) & set("*?[")]
        if patterns and len(named) == len(patterns):
            return list(dict.fromkeys(named))
        listed = [name for name in self._listed() if not self._is_brought(name)]
        found = [name for name in listed if not patterns or any(fnmatchcase(name, each) for each in patterns)]
        for pattern in patterns:
            if pattern not in named and not any(fnmatchcase(name, pattern) for name in found):
                self._fail(self._source, f"no repository matches {pattern!r}")
        return list(dict.fromkeys((*named, *found)))

    def _listed(self) -> Iterator[str]:
        try:
            yield from self._engine.client.catalog(self._source)
        except (RegistryError, NotFound) as error:
            error.hint = error.hint or "a registry that lists none can be asked for each: --repository NAME"
            raise

    def _is_brought(self, repository: str) -> bool:
        """Is it what comes of this, because both ends are the same registry?"""
        return f"{self._source}/{repository}".startswith(self._target)

    def _entry(self, repository: str) -> MirrorEntry | None:
        from ..grammars.wire.routes import is_name

        try:
            if not is_name(repository):
                raise InvalidName(f"invalid name of a repository: {repository[:300]!r}")
            target = Reference.parse(self._target + repository).name
        except InvalidName as error:
            self._fail(f"{self._source}/{repository[:300]}", error.message)
            return None
        return MirrorEntry(Reference(self._source, repository), target, referrers=True)

    def _fail(self, source: str, why: str) -> None:
        self._hear(Outcome(source, self._target.rstrip("/"), "", FAILED, error=why))

    def _hear(self, outcome: Outcome) -> None:
        self._count(**{outcome.status: 1}, moved=outcome.moved)
        self._tell(outcome)

    def _count(self, **more: int) -> None:
        with self._lock:
            sums = {name: getattr(self._report, name) + count for name, count in more.items()}
            self._report = self._report.replace(**sums)


def _place(text: str) -> tuple[str, str]:
    """The registry and the namespace after it, "" if there is none. Raises UsageError, InvalidName."""
    host, _, below = text.removeprefix("docker://").rstrip("/").partition("/")
    if not host or "://" in text.removeprefix("docker://"):
        raise UsageError(f"{text!r} is not a registry", hint="expected [docker://]HOST[:PORT]")
    return registry_name(host), below
