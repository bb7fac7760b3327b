"""`nacre rmi`: remove names of images, and images that have none left."""

from __future__ import annotations

from ..words.errors import Conflict, InvalidName, NotFound
from ..words.reference import Reference
from .options import Command, flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..images.model.image import Image
    from ..stores.containers import ContainerRow
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Remove each in turn; one that fails is named on standard error and the rest go on."""
    code = 0
    for text in args.positionals:
        try:
            _remove(context, text, args)
        except (NotFound, Conflict, InvalidName) as error:
            context.warn(f"nacre: {error.message}")
            # As docker: with --force an image that is not there is no failure.
            code = code if args.force and isinstance(error, NotFound) else error.exit_code
    return code


def _remove(context: Context, text: str, args: Args) -> None:
    from ..images.model.image import find

    image = find(context.store, text)
    names = image.names  # once: another process may take one of them, or give another, at any time
    name = _named(names, text)
    if name is not None:
        _check_name(context, image, names, name, args.force)
        doomed = [name, *_digests_of(names, name)]
    elif _is_id(image, text):
        _check_id(context, image, names, args.force)
        doomed = list(names)
    else:
        raise NotFound(f"No such image: {Reference.parse(text).familiar}")
    _untag(context, image, doomed)
    if not set(names) - set(doomed):
        _delete(context, image, keep=args.no_prune)


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


def _is_single(names: Sequence[str]) -> bool:
    """Whether there is one name, or one tag at most with digests of one repository, its own.

    Source: moby daemon/images/image_delete.go, isSingleReference.
    """
    repositories = {name.partition("@")[0] for name in names if "@" in name}
    tags = [Reference.parse(name).name for name in names if "@" not in name]
    if len(names) <= 1:
        return len(names) == 1
    return len(tags) <= 1 and len(repositories) == 1 and set(tags) <= repositories


def _check_name(context: Context, image: Image, names: Sequence[str], name: str, force: bool) -> None:
    """The last name of an image that a container has goes by force only."""
    using = _using(context, image) if not force and _is_single(names) else []
    if using:
        shown = Reference.parse(name).familiar
        raise Conflict(
            f'conflict: unable to remove repository reference "{shown}" (must force) - '
            f"container {using[0].id[:12]} is using its referenced image {image.id.short}"
        )


def _check_id(context: Context, image: Image, names: Sequence[str], force: bool) -> None:
    using = _using(context, image)
    _check_running(using, image.id.short)
    if force:
        return
    if names and not _is_single(names):
        raise Conflict(
            f"conflict: unable to delete {image.id.short} (must be forced) - "
            "image is referenced in multiple repositories"
        )
    if using:
        raise Conflict(
            f"conflict: unable to delete {image.id.short} (must be forced) - "
            f"image is being used by stopped container {using[0].id[:12]}"
        )


def _using(context: Context, image: Image) -> list[ContainerRow]:
    """Containers made from the image, with their states as they are now."""
    rows = context.store.containers.of_image(image.digest)
    if not rows:
        return []
    from ..services.containers import Containers

    return [Containers(context.store).get(row.id) for row in rows]


def _check_running(using: list[ContainerRow], shown: str) -> None:
    for row in using:
        if row.state == "running":
            raise Conflict(
                f"conflict: unable to delete {shown} (cannot be forced) - "
                f"image is being used by running container {row.id[:12]}"
            )


def _untag(context: Context, image: Image, names: list[str]) -> None:
    for name in names:
        if context.store.refs.delete(name, image.digest):
            context.print(f"Untagged: {Reference.parse(name).familiar}")


def _delete(context: Context, image: Image, *, keep: bool) -> None:
    """No longer keep the image, and free what nothing else needs; says which of its layers went."""
    from ..stores.sweep import sweep

    if context.store.containers.of_image(image.digest):
        return  # forced: the image lives on without a name until its containers are removed
    if not context.store.refs.forget(image.digest, named=False):
        return  # another process has given it a name meanwhile
    context.print(f"Deleted: {image.id}")
    if keep:
        return
    freed = {name for kind, name, _ in sweep(context.store).items if kind == "tree"}
    for diff_id in reversed(image.diff_ids):
        if str(diff_id) in freed:
            context.print(f"Deleted: {diff_id}")


COMMAND = Command(
    arguments="IMAGE [IMAGE...]",
    run=run,
    options=(
        flag("-f, --force", "Force removal of the image"),
        flag("--no-prune", "Do not free content that is no longer needed"),
    ),
)
