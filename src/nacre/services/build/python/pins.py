"""Requirements that pin every package to one version: what they come to is checked, not searched for.

So a build in which one pin has moved needs no resolver. What a requirement means is asked of `packaging`,
once for each text; the pins themselves are plain (see `grammars.python.plain`). Where there is more to decide
than whether all wishes hold, or something is wrong, nothing is found here: `resolve` decides, or says why.
"""

from __future__ import annotations

from ....grammars.python.files import Pinned
from ....grammars.python.names import canonical
from ....grammars.python.needs import needs
from ....grammars.python.plain import is_release, is_version, pin, wheel_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ....grammars.python.files import IndexFile
    from .answers import KeptAnswers
    from .index import PackageIndex
    from .requirements import Requirements

    Metadata = Callable[[Pinned], bytes]
    Node = tuple[str, str]
    """A package and an extra of it, "" for the package itself."""


class _Undecided(Exception):
    """It takes a resolver."""


def exact(requirements: Iterable[str], answers: KeptAnswers) -> Iterator[tuple[str, str]]:
    """(name, version) of the requirements that allow one version alone, and are wanted here."""
    for text in requirements:
        if found := pin(text):
            yield found
            continue
        for name, _, specifier in answers.wishes(text) or ():
            if specifier.startswith("==") and not {",", "*"} & set(specifier) and specifier[:3] != "===":
                yield name, _version(specifier[2:])


def _version(text: str) -> str:
    """As files have it."""
    if is_version(text):
        return text
    from packaging.version import Version

    return str(Version(text))


def pinned(
    wishes: Requirements, index: PackageIndex, metadata: Metadata, answers: KeptAnswers
) -> list[Pinned] | None:
    """What `resolve` would find, by name; None where that has to look. `metadata` as there.

    Raises NotFound, RegistryError, ContentError.
    """
    if wishes.constraints or wishes.folders:
        return None
    check = _PinCheck(wishes, index, metadata, answers)
    try:
        return check.found()
    except _Undecided:
        return None


class _PinCheck:
    def __init__(
        self, wishes: Requirements, index: PackageIndex, metadata: Metadata, answers: KeptAnswers
    ) -> None:
        self._wishes, self._index, self._metadata, self._answers = wishes, index, metadata, answers
        self._hashes = {name: set(pairs) for name, pairs in wishes.hashes}
        self._ranks = answers.ranks()
        self._versions: dict[str, str] = {}
        self._found: dict[str, Pinned] = {}
        self._needs: dict[str, list[str]] = {}

    def found(self) -> list[Pinned]:
        """All of them, by name. Raises _Undecided."""
        todo = sorted({node for text in self._wishes.requirements for node in self._root(text)}, reverse=True)
        self._index.prefetch(name for name, extra in reversed(todo) if not extra)
        seen: set[Node] = set()
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                todo += [one for text in self._needs_of(node[0]) for one in self._needed(text, node[1])]
        return [one for _, one in sorted(self._found.items())]

    def _root(self, text: str) -> Iterator[Node]:
        if found := pin(text):
            yield from self._pin(*found, ())
            return
        for name, extras, specifier in self._asked(text, ""):
            if not specifier.startswith("==") or not is_version(specifier[2:]):
                raise _Undecided
            yield from self._pin(name, specifier[2:], extras)

    def _pin(self, name: str, version: str, extras: Sequence[str]) -> Iterator[Node]:
        if self._versions.setdefault(name, version) != version:
            raise _Undecided
        yield from ((name, extra) for extra in ("", *extras))

    def _asked(self, text: str, extra: str) -> list[tuple[str, tuple[str, ...], str]]:
        found = self._answers.wishes(text, extra)
        if found is None:
            raise _Undecided
        return found

    def _needed(self, text: str, extra: str) -> Iterator[Node]:
        """What a requirement of a package leads to, which must be pinned as it wants."""
        for name, extras, specifier in self._asked(text, extra):
            if name not in self._versions or not self._answers.allowed(specifier, self._versions[name]):
                raise _Undecided
            yield from ((name, one) for one in ("", *extras))

    def _needs_of(self, name: str) -> list[str]:
        if name not in self._found:
            one = Pinned(name, self._versions[name], self._file(name, self._versions[name]))
            self._needs[name] = needs(self._metadata(one))[1]
            self._found[name] = one
        return self._needs[name]

    def _file(self, name: str, version: str) -> IndexFile:
        """The best wheel of a version."""
        ranks = self._ranks
        best: tuple[int, str, IndexFile] | None = None
        for file in self._index.files(name):
            for tag in self._tags(file, name, version):
                row = -ranks.get(tag, len(ranks)), file.name, file
                if tag in ranks and (best is None or row[:2] > best[:2]):
                    best = row
        if best is None or best[2].yanked:
            raise _Undecided
        return best[2]

    def _tags(self, file: IndexFile, name: str, version: str) -> tuple[str, ...]:
        """The tags of a wheel of just this version that may be used, () for other files."""
        stem = file.name.removesuffix(".whl").removesuffix(".tar.gz").removesuffix(".zip")
        written = stem.split("-")[1:2] if file.is_wheel else [stem.rpartition("-")[2]]
        same = is_release(written[0], version) if written else None
        if same is False:
            return ()
        if same is None or written != [version]:  # another way to write it, or none at all
            raise _Undecided
        found = wheel_name(file.name)
        if found is None and file.is_wheel:
            raise _Undecided
        return found.tags if found and found.name == name and self._is_usable(file, name) else ()

    def _is_usable(self, file: IndexFile, name: str) -> bool:
        if name in self._hashes:
            return any(pair in self._hashes[name] for pair in file.strong) or not file.strong
        if self._wishes.require_hashes:
            raise _Undecided
        return self._answers.runs(file.requires_python)


def name_of(text: str) -> str:
    """The package that a requirement is of, by its first word; the text itself for what has none."""
    end = next((at for at, char in enumerate(text) if not (char.isalnum() or char in "-_.")), len(text))
    return canonical(text[:end]) or text
