"""Images as a listing shows them: a thousand in the time of a few that are loaded as a whole."""

from __future__ import annotations

from ...stores.links import config_links, manifest_links
from ...words.digest import Digest
from ...words.errors import ContentError, NotFound, Unsupported
from ...words.value import Value
from .image import Image, repo_digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...stores.store import Store
    from ...words.errors import NacreError

    Facts = tuple[Digest, Digest, str, dict[str, str], Sequence[str]]
    """Manifest, config, time, labels, diff ids."""

_AT_ONCE = 500


class ImageRow(Value):
    """One image. `digest` is the manifest's, `id` the config's; `names` are canonical, sorted; `size` is
    bytes of content in the layers that are here; `repo_digests` are left out unless they are asked for.
    """

    digest: Digest
    id: Digest
    names: tuple[str, ...]
    created: str
    labels: dict[str, str]
    size: int
    repo_digests: tuple[str, ...] = ()


def image_rows(
    store: Store, failed: Callable[[Digest, NacreError], object], *, digests: bool = False
) -> Iterator[ImageRow]:
    """Every image, the newest first; `failed` is called for one that cannot be read. Raises StoreError."""
    names: dict[str, list[str]] = {}
    for digest, name in store.refs.kept():
        names.setdefault(digest, []).append(name)
    read = list(_documents(store, failed))
    sizes = _sizes(store, {diff_id for *_, diff_ids in read for diff_id in diff_ids})
    for digest, id, created, labels, diff_ids in read:
        size = sum(sizes.get(diff_id, 0) for diff_id in diff_ids)
        named = tuple(filter(None, names.get(digest, ())))
        yield ImageRow(
            digest, id, named, created, labels, size, _repo_digests(store, digest) if digests else ()
        )


def _documents(store: Store, failed: Callable[[Digest, NacreError], object]) -> Iterator[Facts]:
    for digest in store.refs.image_digests():
        try:
            yield _usual(store, digest) or _unusual(store, digest)
        except (ContentError, NotFound, Unsupported) as error:
            failed(digest, error)


def _usual(store: Store, digest: Digest) -> Facts | None:
    manifest = manifest_links(store.blobs.read(digest))
    config = config_links(store.blobs.read(manifest[0])) if manifest else None
    if not manifest or not config or len(manifest[1]) != len(config[1]):
        return None
    labels = (config[0].get("config") or {}).get("Labels") or {}
    return digest, manifest[0], config[0].get("created") or "", labels, config[1]


def _unusual(store: Store, digest: Digest) -> Facts:
    image = _loaded(store, digest)
    return digest, image.id, image.config.created, image.config.labels, image.diff_ids


def _repo_digests(store: Store, digest: Digest) -> tuple[str, ...]:
    return tuple(repo_digests(_loaded(store, digest)))


def _loaded(store: Store, digest: Digest) -> Image:
    descriptor = store.refs.image(digest)
    if descriptor is None:
        raise NotFound(f"No such image: {digest}")
    return Image.load(store, descriptor)


def _sizes(store: Store, layers: set[str]) -> dict[str, int]:
    """Of those that are here."""
    known = store.trees.rows.sizes()
    wanted = [diff_id for diff_id in known if diff_id in layers]
    sizes: dict[str, int] = {diff_id: known[diff_id] for diff_id in wanted}
    for first in range(0, len(wanted), _AT_ONCE):
        for missing in store.trees.missing(wanted[first : first + _AT_ONCE]):
            del sizes[missing]
    return sizes
