"""Finds lost content in other repositories, the most likely one first.

    the repositories that it came from, as far as they are known
    those of the names of the images that need it
    every other repository that anything in the store came from or is named after

What comes is taken only when it has the digest, so a wrong guess costs a question. A registry that does not
answer is asked once.
"""

from __future__ import annotations

from functools import partial

from ...words.digest import Digest
from ...words.errors import InvalidName, NacreError, NotFound, Unreachable
from ...words.oci import MAX_DOCUMENT, Descriptor
from ...words.reference import Reference
from ..layers.compressed import Fetched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeVar

    from ...stores.store import Store
    from ..layers.compressed import Sources
    from ..model.source import Source

    T = TypeVar("T")


class OtherRepositories:
    """Asks for content. `users` are the names of the images that need it, by digest."""

    def __init__(self, store: Store, sources: Sources | None, users: Mapping[str, Sequence[str]]) -> None:
        self._store, self._sources, self._users = store, sources, users
        self._silent: set[str] = set()

    def places(self, digest: Digest) -> list[str]:
        """Repositories in the order in which they are asked."""
        named = [repository for name in self._users.get(digest, ()) if (repository := _repository(name))]
        others = self._store.layers.repositories()
        others += [repository for ref in self._store.refs.list() if (repository := _repository(ref.name))]
        return list(dict.fromkeys([*self._store.layers.sources(digest), *named, *others]))

    def layer(self, layer: Descriptor) -> Iterator[tuple[str, Fetched]]:
        """The layer from each place that has it, verified on its way, to be closed."""
        for where in self.places(layer.digest):
            content = self._asked(where, partial(self._begun, layer, where))
            if content is not None:
                yield where, content

    def _begun(self, layer: Descriptor, where: str, source: Source) -> Fetched:
        content = Fetched(layer, source)
        try:
            content.seek(0)
        except NotFound:
            self._store.layers.drop_source(layer.digest, where)
            raise
        return content

    def document(self, digest: Digest, size: int) -> tuple[str, bytes] | None:
        """A config, which is a blob of `size` bytes, or a manifest; and where it came from."""
        from ..layers.receive import fetch_small

        descriptor = Descriptor("", digest, min(size, MAX_DOCUMENT))
        for where in self.places(digest):
            reference = Reference.parse(f"{where}@{digest}")
            for fetch in (
                lambda source: fetch_small(source, descriptor, "a document"),
                lambda source, reference=reference: source.resolve(reference)[1],
            ):
                data = self._asked(where, fetch)
                if data is not None and Digest.of(data, digest.algorithm) == digest:
                    return where, data
        return None

    def _asked(self, where: str, question: Callable[[Source], T]) -> T | None:
        host = where.partition("/")[0]
        if self._sources is None or host in self._silent:
            return None
        try:
            return question(self._sources(where))
        except Unreachable:
            self._silent.add(host)
        except NacreError:
            pass  # it does not have the content; another may
        return None


def _repository(name: str) -> str:
    """Of the name of an image; "" for one without a name."""
    try:
        return Reference.parse(name).name if "/" in name else ""
    except InvalidName:
        return ""
