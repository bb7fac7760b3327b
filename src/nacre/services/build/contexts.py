"""The contexts of one build: the one of all, and those that have a name.

NAME=folder       read where it is, without what its own .dockerignore takes away
NAME=repository   a commit, fetched once in a build (`repositories`)
NAME=URL          an archive, or the one file, fetched once in a build (`downloads`)
"""

from __future__ import annotations

import os

from ...grammars.dockerfile.gitsource import read_git
from ...grammars.dockerfile.namedcontext import image_of, is_url, repository_of
from ...ground.files import Root
from ...stores import caches
from ...words.errors import NotFound, UsageError
from .context import BuildContext
from .filehash import FileHashes
from .inputs import patterns_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...words.errors import NacreError
    from .context import ContextFiles
    from .session import BuildSession

    Blame = Callable[[NacreError], NacreError]


class BuildContexts:
    """By name, "" the one of all; the others are opened when they are first asked for. Close it."""

    def __init__(self, main: ContextFiles, values: Mapping[str, str]) -> None:
        """Raises NotFound, UsageError for a folder that is not there, whether the build needs it or not."""
        for name, value in values.items():
            _check(name, value)
        self._values = values
        self._opened = {"": main}

    def named(self, session: BuildSession, name: str, blame: Blame) -> ContextFiles:
        """The files of a context. Raises Waiting, errors of what is fetched as `blame` has them."""
        if name not in self._opened:
            self._opened[name] = self._open(session, name, blame)
        return self._opened[name]

    def _open(self, session: BuildSession, name: str, blame: Blame) -> ContextFiles:
        value, called = self._values[name], f"the build context {name}"
        if repository := repository_of(value):
            source = read_git(repository)
            session.clone(source, blame, f"[context {name}] {{}}")
            return session.repositories.context(source, called)
        if is_url(value):
            session.download(value, None, blame, f"[context {name}] {{}}")
            return session.downloads.context(session.store, value, called)
        with Root(value) as root:
            ignore = patterns_in(root)
        return BuildContext(value, ignore, FileHashes(caches.tables(session.store.root), value), called)

    def news(self) -> dict[str, Any]:
        """What was hashed since the last call: for `learn`, in another process."""
        return {name: files.hashes.news() for name, files in self._opened.items()}

    def learn(self, news: dict[str, Any]) -> None:
        """Keep what another process has hashed."""
        for name, files in self._opened.items():
            if name in news:
                files.hashes.learn(*news[name])

    def close(self) -> None:
        """Close those that were opened here. Idempotent."""
        for name in [name for name in self._opened if name]:
            self._opened.pop(name).close()


def _check(name: str, value: str) -> None:
    if image_of(value) is not None or repository_of(value) or is_url(value):
        return
    if not os.path.lexists(value):
        raise NotFound(f"failed to get build context {name}: stat {value}: no such file or directory")
    if not os.path.isdir(value):
        raise UsageError(f"failed to get build context {name}: {value} is not a directory")
