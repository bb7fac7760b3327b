"""Choosing versions where nothing is locked: resolvelib, pip's own resolver, over our own index.

Markers and tags are those of the base's Python, not of one that happens to run here: that is why neither
`pip install --dry-run` (its markers are always its own) nor `uv pip compile` (another program, with another
way to the network) does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from ....grammars.python.files import IndexFile, Pinned, best_of, hashes_in_url, name_in, version_of
from ....grammars.python.names import canonical
from ....grammars.python.needs import needs
from ....grammars.python.target import Target
from ....words.errors import NotFound, Unsupported, UsageError
from ....words.lines import lines
from .index import PackageIndex
from .requirements import Requirements

_ROUNDS = 10_000
_SHOWN = 6


class Candidate:
    """A version of a package with one extra, or none; as resolvelib wants it, equal only to itself."""

    def __init__(
        self, name: str, extra: str, version: Version, file: IndexFile | None, folder: str = ""
    ) -> None:
        self.name, self.extra, self.version, self.file, self.folder = name, extra, version, file, folder

    @property
    def pinned(self) -> Pinned:
        """As it is to be installed, without the extra."""
        return Pinned(self.name, str(self.version), self.file, self.folder)

    @property
    def same(self) -> tuple[str, Version, str, str]:
        """What it is, without the extra."""
        return self.name, self.version, self.file.url if self.file else "", self.folder


class ResolverRequirement:
    """A requirement as resolvelib hands it around; `exactly` for one that an extra has of its package."""

    def __init__(
        self, name: str, extra: str, text: str, exactly: Candidate | None = None, url: str = ""
    ) -> None:
        self.name, self.extra, self.text, self.exactly, self.url = name, extra, text, exactly, url
        self.specifier = SpecifierSet() if exactly or url else Requirement(text).specifier

    def __str__(self) -> str:
        return self.text


Metadata = Callable[[Pinned], bytes]


def resolve(wishes: Requirements, target: Target, index: PackageIndex, metadata: Metadata) -> list[Pinned]:
    """One version for each package that is needed, by name. `metadata` gives the METADATA of a candidate.

    Raises UsageError when there is no solution, NotFound, RegistryError, ContentError.
    """
    provider = _Provider(wishes, target, index, metadata)
    roots = [wish for text in wishes.requirements for wish in provider.wishes(text, "")]
    provider.prefetch(roots)
    try:
        result = Resolver(provider, BaseReporter()).resolve(roots, max_rounds=_ROUNDS)
    except ResolutionImpossible as error:
        raise _impossible(error, target, provider.reason(error)) from None
    except ResolutionTooDeep:
        raise UsageError(
            "the requirements cannot be resolved: too many tries", hint="pin some versions"
        ) from None
    found = {one.name: one.pinned for one in result.mapping.values()}
    return [one for _, one in sorted(found.items())]


def _impossible(error: ResolutionImpossible[Any, Any], target: Target, hint: str) -> UsageError:
    causes = [
        f"{cause.requirement}" + (f" (of {cause.parent.name} {cause.parent.version})" if cause.parent else "")
        for cause in list(error.causes)[:_SHOWN]
    ]  # fmt: skip
    listed = ", ".join(dict.fromkeys(causes))
    return UsageError(f"no versions satisfy {listed} for {target}", hint=hint)


def _offered(name: str, files: Sequence[IndexFile]) -> str:
    versions = sorted({version for file in files if (version := version_of(file, name))}, reverse=True)
    return f"there is {_few([str(one) for one in versions])}" if versions else ""


def _few(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_SHOWN])
    return f"{shown}, …" if len(texts) > _SHOWN else shown


class _Provider(AbstractProvider[ResolverRequirement, Candidate, str]):
    def __init__(self, wishes: Requirements, target: Target, index: PackageIndex, metadata: Metadata) -> None:
        self._wishes, self._target, self._index, self._metadata = wishes, target, index, metadata
        self._ranks = target.ranks()
        self._environment: dict[str, Any] = {**target.environment}
        self._hashes = {name: set(pairs) for name, pairs in wishes.hashes}
        self._folders = dict(wishes.folders)
        self._constraints = _by_name(wishes.constraints)
        self._pythons: dict[str, bool] = {}
        self._needs: dict[Any, list[Requirement]] = {}
        self._versions: dict[str, list[tuple[Version, IndexFile]]] = {}

    def wishes(self, text: str, extra: str) -> Iterator[ResolverRequirement]:
        """The wishes that a requirement is here, one for the package and one for each extra."""
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise UsageError(f"invalid requirement {text[:200]!r}: {lines(str(error))[0]}") from None
        yield from self._wish(requirement, extra)

    def _wish(self, requirement: Requirement, extra: str) -> Iterator[ResolverRequirement]:
        marker = requirement.marker
        if marker is not None and not marker.evaluate(self._environment | {"extra": extra}):
            return
        name = canonical(requirement.name)
        shown = f"{requirement.name}{requirement.specifier}"
        url = "" if name in self._folders else requirement.url or ""
        if url.startswith(("git+", "hg+", "svn+", "bzr+")):
            raise Unsupported(
                f"{name} is in a repository, which is not supported", hint="use a released version"
            )
        for one in ("", *sorted(requirement.extras)):
            yield ResolverRequirement(name, canonical(one) if one else "", shown, url=url)

    def reason(self, error: ResolutionImpossible[Any, Any]) -> str:
        """Why there is nothing for the package of an error, "" if several contradict each other."""
        wishes = [cause.requirement for cause in error.causes]
        names = {wish.name for wish in wishes}
        if len(names) != 1 or any(wish.url or wish.exactly for wish in wishes):
            return ""
        (name,) = names
        files = self._index.files(name)
        allowed = [
            file
            for file in files
            if (version := version_of(file, name)) is not None
            and all(wish.specifier.contains(version, prereleases=True) for wish in wishes)
        ]
        return self._unfit(name, allowed) if allowed else _offered(name, files)

    def _unfit(self, name: str, files: Sequence[IndexFile]) -> str:
        """Why none of these files will do."""
        if not any(best_of([file], self._ranks) for file in files):
            return f"its files are for other platforms or Pythons: {_few([file.name for file in files])}"
        if refused := [file.requires_python for file in files if not self._runs_on(file.requires_python)]:
            return f"it needs Python {refused[-1]}"
        if name in self._hashes and not any(self._is_usable(file, name) for file in files):
            return "the index has none of the hashes that were asked for"
        return "another package or a constraint excludes what there is"

    def prefetch(self, wishes: Iterable[ResolverRequirement]) -> None:
        """Bring the pages of what will be asked for next, several at once."""
        self._index.prefetch(one.name for one in wishes if not one.url and one.name not in self._folders)

    # what resolvelib asks

    def identify(self, requirement_or_candidate: ResolverRequirement | Candidate) -> str:
        """A package, or one with an extra."""
        one = requirement_or_candidate
        return f"{one.name}[{one.extra}]" if one.extra else one.name

    def get_preference(
        self, identifier: str, resolutions: Any, candidates: Any, information: Any, backtrack_causes: Any
    ) -> Any:
        """First what has failed, what is pinned, and what has few choices: as pip does."""
        wishes = [one.requirement for one in information[identifier]]
        pinned = any(one.exactly or one.url or "==" in str(one.specifier) for one in wishes)
        failed = any(identifier == self.identify(cause.requirement) for cause in backtrack_causes)
        bound = any(len(one.specifier) for one in wishes)
        return not failed, not pinned, not bound, identifier

    def find_matches(
        self, identifier: str, requirements: Mapping[str, Iterator[ResolverRequirement]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> Iterable[Candidate]:  # fmt: skip
        """The versions that all want, newest first."""
        wishes = list(requirements[identifier])
        refused = {one.same for one in incompatibilities[identifier]}
        name, _, extra = identifier.rstrip("]").partition("[")
        return [
            one
            for one in self._candidates(name, extra, wishes)
            if one.same not in refused and all(self.is_satisfied_by(wish, one) for wish in wishes)
        ]

    def _candidates(
        self, name: str, extra: str, wishes: Sequence[ResolverRequirement]
    ) -> Iterator[Candidate]:
        exact = [wish.exactly for wish in wishes if wish.exactly]
        if exact or name in self._folders:
            one = exact[0] if exact else Candidate(name, extra, Version("0"), None, self._folders[name])
            yield Candidate(name, extra, one.version, one.file, one.folder)
            return
        if url := next((wish.url for wish in wishes if wish.url), ""):
            file = IndexFile(name_in(url), url.partition("#")[0], hashes_in_url(url))
            yield Candidate(name, extra, version_of(file, name) or Version("0"), file)
            return
        specifiers = [wish.specifier for wish in wishes] + self._constraints.get(name, [])
        rows = [row for row in self._rows(name) if all(_allows(one, row) for one in specifiers)]
        stable = [row for row in rows if not row[0].is_prerelease]
        if stable and not self._wishes.pre and not any(one.prereleases for one in specifiers):
            rows = stable
        yield from (Candidate(name, extra, version, file) for version, file in rows)

    def _rows(self, name: str) -> list[tuple[Version, IndexFile]]:
        """Every version that fits the target, newest first, each with its best file."""
        if name not in self._versions:
            by_version: dict[Version, list[IndexFile]] = {}
            for file in self._index.files(name):
                if self._is_usable(file, name) and (version := version_of(file, name)) is not None:
                    by_version.setdefault(version, []).append(file)
            best = ((version, best_of(files, self._ranks)) for version, files in by_version.items())
            rows = [(version, file) for version, file in best if file is not None]
            self._versions[name] = sorted(rows, key=lambda row: row[0], reverse=True)
        return self._versions[name]

    def _is_usable(self, file: IndexFile, name: str) -> bool:
        if name in self._hashes:
            return any(pair in self._hashes[name] for pair in file.strong) or not file.strong
        if self._wishes.require_hashes:
            raise UsageError(
                f"{name} has no hash, but others have", hint="lock all of them: pip-compile --generate-hashes"
            )
        wanted = file.requires_python
        if wanted not in self._pythons:  # thousands of files say the same
            self._pythons[wanted] = self._runs_on(wanted)
        return self._pythons[wanted]

    def _runs_on(self, wanted: str) -> bool:
        try:
            return not wanted or SpecifierSet(wanted).contains(self._target.version)
        except InvalidSpecifier:
            return True

    def is_satisfied_by(self, requirement: ResolverRequirement, candidate: Candidate) -> bool:
        """Whether a candidate will do; what was chosen by a URL or a folder always does."""
        if requirement.exactly:
            return requirement.exactly.same == candidate.same
        if requirement.url:
            return bool(candidate.file) and candidate.file.url == requirement.url.partition("#")[0]  # type: ignore[union-attr]
        return bool(candidate.folder) or requirement.specifier.contains(candidate.version, prereleases=True)

    def get_dependencies(self, candidate: Candidate) -> Iterable[ResolverRequirement]:
        """What a candidate needs; with an extra also the package itself, in just this version."""
        found: list[ResolverRequirement] = []
        if candidate.extra:
            base = Candidate(candidate.name, "", candidate.version, candidate.file, candidate.folder)
            found.append(
                ResolverRequirement(
                    candidate.name, "", f"{candidate.name}=={candidate.version}", exactly=base
                )
            )
        for requirement in self._required(candidate):
            marker = str(requirement.marker or "")
            if not candidate.extra or "extra" in marker:
                found += self._wish(requirement, candidate.extra)
        self.prefetch(found)
        return found

    def _required(self, candidate: Candidate) -> list[Requirement]:
        if candidate.same not in self._needs:
            self._needs[candidate.same] = requirements_in(self._metadata(candidate.pinned))
        return self._needs[candidate.same]


def _allows(specifier: SpecifierSet, row: tuple[Version, IndexFile]) -> bool:
    version, file = row
    exact = any(one.operator in ("==", "===") for one in specifier)
    return specifier.contains(version, prereleases=True) and (exact or not file.yanked)


def _by_name(constraints: Sequence[str]) -> dict[str, list[SpecifierSet]]:
    found: dict[str, list[SpecifierSet]] = {}
    for text in constraints:
        requirement = Requirement(text)
        found.setdefault(canonical(requirement.name), []).append(requirement.specifier)
    return found


def requirements_in(metadata: bytes) -> list[Requirement]:
    """The Requires-Dist of a METADATA; those that nobody could read are passed over, as pip does not."""
    package, texts = needs(metadata)
    found = []
    for text in texts:
        try:
            found.append(Requirement(text))
        except InvalidRequirement:
            raise UsageError(f"{package} has an invalid requirement: {text[:200]}") from None
    return found


def pinned_of_lock(name: str, version: str, files: Sequence[IndexFile], target: Target) -> Pinned:
    """The file of a locked package that fits best. Raises NotFound."""
    best = best_of([file for file in files if file.name.endswith((".whl", ".tar.gz"))], target.ranks())
    if best is None:
        raise NotFound(f"{name} {version} is locked without a file for {target}")
    return Pinned(name, version, best)
