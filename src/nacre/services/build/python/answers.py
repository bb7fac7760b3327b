"""What `packaging` has said of requirements, kept in a file of the store.

The same requirements are asked about in each build, and most of the time of a build in which little has moved
would be spent on loading the library. Answers are kept for one target and one version of the library; where
the file is gone, it is asked again.
"""

from __future__ import annotations

import packaging

from ....stores import caches
from ....words.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from packaging.requirements import Requirement

    from ....grammars.python.target import Target

    Wish = tuple[str, tuple[str, ...], str]
    """(name, extras, specifier) of a requirement, the names as `canonical` spells them."""

_KIND = "answers-"
_MOST = 10
"""Targets for which answers are kept."""
_MOST_ANSWERS = 20_000


class KeptAnswers:
    """Answers for one target; `tables` is the folder of the file. `save` keeps those that are new."""

    def __init__(self, tables: str, target: Target) -> None:
        self._tables, self._target = tables, target
        who = repr((packaging.__version__, *target._astuple())).encode()
        self._file = f"{_KIND}{sha256(who).hexdigest()[:32]}"
        self._known: dict[tuple[str, ...], Any] = caches.kept_rows(tables, self._file)
        self._count = len(self._known)

    def save(self) -> None:
        """Write the file, if there is something new."""
        if len(self._known) != self._count:
            known, most = self._known, _MOST_ANSWERS
            caches.keep_rows(self._tables, self._file, known, kind=_KIND, files=_MOST, most=most)
            self._count = len(self._known)

    def _answer(self, question: tuple[str, ...], ask: Callable[[], Any]) -> Any:
        if question not in self._known:
            self._known[question] = ask()
        return self._known[question]

    def wishes(self, text: str, extra: str = "") -> list[Wish] | None:
        """What a requirement asks for if `extra` is wanted: one wish, or none where its marker does not hold.

        None for what is no requirement, or one of a URL. With an extra only what is there for its sake.
        """
        found: list[Wish] | None = self._answer(("wish", text, extra), lambda: self._wishes(text, extra))
        return found

    def _wishes(self, text: str, extra: str) -> list[Wish] | None:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            found = Requirement(text)
        except InvalidRequirement:
            return None
        if not self._applies(found, extra):
            return []
        return None if found.url else [_wish(found)]

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        marker = requirement.marker
        if extra and "extra" not in str(marker or ""):
            return False
        environment: dict[str, Any] = {**self._target.environment, "extra": extra}
        return marker is None or marker.evaluate(environment)

    def allowed(self, specifier: str, version: str) -> bool | None:
        """Whether a version is in a specifier, which may be ""; a pre-release counts. None if it is none."""

        def ask() -> bool | None:
            from packaging.specifiers import InvalidSpecifier, SpecifierSet

            try:
                return SpecifierSet(specifier).contains(version, prereleases=True)
            except InvalidSpecifier:
                return None

        found: bool | None = not specifier or self._answer(("allowed", specifier, version), ask)
        return found

    def runs(self, wanted: str) -> bool:
        """Whether the target is in a Requires-Python; what is none wants nothing."""

        def ask() -> bool:
            from packaging.specifiers import InvalidSpecifier, SpecifierSet

            try:
                return SpecifierSet(wanted).contains(self._target.version)
            except InvalidSpecifier:
                return True

        return not wanted or bool(self._answer(("runs", wanted), ask))

    def ranks(self) -> Mapping[str, int]:
        """The tags of wheels that fit, each with its place, the best 0."""
        tags = self._answer(("tags",), lambda: [str(tag) for tag in self._target.tags])
        return {tag: place for place, tag in reversed(list(enumerate(tags)))}


def _wish(requirement: Requirement) -> Wish:
    from ....grammars.python.names import canonical

    extras = sorted(canonical(extra) for extra in requirement.extras)
    return canonical(requirement.name), tuple(extras), str(requirement.specifier)
