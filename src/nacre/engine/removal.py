"""`rmi`: names of images are removed, and images that have none left.

Source: moby daemon/images/image_delete.go.
"""

from __future__ import annotations

from ..words.errors import Conflict, InvalidName, NotFound
from ..words.reference import Reference
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..images.model.image import Image
    from ..stores.containers import ContainerRow
    from ..stores.store import Store


class Removed(Value):
    """One thing that is gone: `untagged` a name in docker's short form, or `deleted` an image or layer id."""

    untagged: str = ""
    deleted: str = ""


def remove(
    store: Store, text: str, tell: Callable[[Removed], object] | None, *, force: bool, prune: bool
) -> list[Removed]:
    """Remove the name `text` of an image, or the image by its id; what is gone, of which `tell` hears too."""
    from ..images.model.image import find
    from ..stores.events import of_image

    gone: list[Removed] = []
    image = find(store, text)
    id, labels = str(image.id), image.config.labels

    def hear(one: Removed) -> None:
        gone.append(one)
        if one.untagged or one.deleted == id:
            of_image(store.root, "untag" if one.untagged else "delete", id, labels)
        if tell:
            tell(one)

    _remove(image, text, hear, force=force, prune=prune)
    return gone


def _remove(image: Image, text: str, tell: Callable[[Removed], object], *, force: bool, prune: bool) -> None:
    store = image.store
    names = image.names  # once: another process may take one of them, or give another, at any time
    name = _named(names, text)
    if name is not None:
        _check_name(store, image, names, name, force)
        doomed = [name, *_digests_of(names, name)]
    elif _is_id(image, text):
        _check_id(store, image, names, force)
        doomed = list(names)
    else:
        raise NotFound(f"No such image: {Reference.parse(text).familiar}")
    for one in doomed:
        if store.refs.delete(one, image.digest):
            tell(Removed(untagged=Reference.parse(one).familiar))
    if not set(names) - set(doomed):
        _delete(store, image, tell, prune=prune)


def _is_id(image: Image, text: str) -> bool:
    """Whether `text` is the beginning of its id, or of its digest."""
    bare = text.removeprefix("sha256:")
    return image.id.hex.startswith(bare) or image.digest.hex.startswith(bare)


def _named(names: Sequence[str], text: str) -> str | None:
    """The one of the names of an image that `text` is; None when it is an id, or not its name any more."""
    try:
        reference = Reference.parse(text)
    except InvalidName:
        return None
    wanted = [str(reference)]
    if reference.digest is not None:
        wanted = [f"{reference.name}@{reference.digest}"]
        wanted += [name for name in names if name.startswith(reference.name + ":")]
    return next((name for name in wanted if name in names), None)


def _digests_of(names: Sequence[str], name: str) -> list[str]:
    """Names by digest in the repository of `name`; they go with its last tag."""
    repository = Reference.parse(name).name
    others = [other for other in names if other != name]
    if any(other.startswith(repository + ":") for other in others):
        return []
    return [other for other in others if other.startswith(repository + "@")]


def is_single(names: Sequence[str]) -> bool:
    """Whether there is one name, or one tag at most with digests of one repository, its own.

    docker's isSingleReference.
    """
    repositories = {name.partition("@")[0] for name in names if "@" in name}
    tags = [Reference.parse(name).name for name in names if "@" not in name]
    if len(names) <= 1:
        return len(names) == 1
    return len(tags) <= 1 and len(repositories) == 1 and set(tags) <= repositories


def _check_name(store: Store, image: Image, names: Sequence[str], name: str, force: bool) -> None:
    """The last name of an image that a container has goes by force only."""
    using = _using(store, image) if not force and is_single(names) else []
    if using:
        shown = Reference.parse(name).familiar
        raise Conflict(
            f'conflict: unable to remove repository reference "{shown}" (must force) - '
            f"container {using[0].id[:12]} is using its referenced image {image.id.short}"
        )


def _check_id(store: Store, image: Image, names: Sequence[str], force: bool) -> None:
    using = _using(store, image)
    _check_running(using, image.id.short)
    if force:
        return
    if names and not is_single(names):
        raise Conflict(
            f"conflict: unable to delete {image.id.short} (must be forced) - "
            "image is referenced in multiple repositories"
        )
    if using:
        raise Conflict(
            f"conflict: unable to delete {image.id.short} (must be forced) - "
            f"image is being used by stopped container {using[0].id[:12]}"
        )


def _using(store: Store, image: Image) -> list[ContainerRow]:
    """Containers made from the image, with their states as they are now."""
    rows = store.containers.of_image(image.digest)
    if not rows:
        return []
    from ..services.containers.listing import ContainerListing

    return [ContainerListing(store).get(row.id) for row in rows]


def _check_running(using: list[ContainerRow], shown: str) -> None:
    for row in using:
        if row.is_live:
            raise Conflict(
                f"conflict: unable to delete {shown} (cannot be forced) - "
                f"image is being used by running container {row.id[:12]}"
            )


def _delete(store: Store, image: Image, tell: Callable[[Removed], object], *, prune: bool) -> None:
    """No longer keep the image, and free what nothing else needs; tells which of its layers went."""
    from ..stores.sweep import sweep

    if store.containers.of_image(image.digest):
        return  # forced: the image lives on without a name until its containers are removed
    if not store.refs.forget(image.digest, named=False):
        return  # another process has given it a name meanwhile
    tell(Removed(deleted=str(image.id)))
    if not prune:
        return
    freed = {name for kind, name, _ in sweep(store).items if kind == "tree"}
    for diff_id in reversed(image.diff_ids):
        if str(diff_id) in freed:
            tell(Removed(deleted=str(diff_id)))
