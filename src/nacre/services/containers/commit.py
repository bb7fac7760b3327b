"""`commit`: an image out of what a container has changed."""

from __future__ import annotations

from ...ground.work.pipe import Pipe, PipeBuffer
from ...ground.work.threads import Worker, running
from ...images.layers.copyup import cost_of
from ...images.layers.ingest import add_layer
from ...images.model.edit import (
    append_history,
    append_layer,
    apply_change,
    with_env,
    with_fields,
    with_run,
    write_image,
)
from ...images.model.image import Image
from ...stores.events import of_image
from ...words.digest import Digest
from ...words.errors import NotFound
from ...words.oci import Descriptor, parse_document
from ...words.quickjson import loads
from ...words.value import Value
from .difference import changes, layer, mount_points

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...stores.containers import ContainerRow
    from ...stores.store import Store
    from ...words.oci import ImageConfig
    from ...words.reference import Reference
    from .listing import ContainerListing


class CommitOptions(Value):
    """What a commit says of the image: `changes` are instructions of a Dockerfile (`edit.apply_change`).

    `created` is an RFC 3339 time, "" for now.
    """

    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    created: str = ""


def commit(
    store: Store, row: ContainerRow, reference: Reference | None = None, wishes: CommitOptions | None = None,
    tell: Callable[[str], object] = lambda _line: None,
) -> Image:  # fmt: skip
    """A new image: that of the container, with its settings and one more layer; the name is set last.

    `tell` takes a sentence on bytes that are there again only for another owner or mode. The process must
    be `userns.mapped()`. A container that changed nothing gives no layer. Raises NotFound, UsageError,
    StoreError; then nothing is named.
    """
    with store.leases.hold():
        descriptor = _write(store, row, wishes or CommitOptions(), tell)
        if reference is not None:
            store.refs.set(str(reference), descriptor)
        return Image.load(store, descriptor)


def commit_told(
    containers: ContainerListing, row: ContainerRow, reference: Reference | None, wishes: CommitOptions,
    tell: Callable[[str], object],
) -> Image:  # fmt: skip
    """`commit`, with the events that docker has for it."""
    image = commit(containers.store, row, reference, wishes, tell)
    id, name = str(image.id), reference.familiar if reference else ""
    of_image(containers.store.root, "create", id, image.config.labels)
    if name:
        of_image(containers.store.root, "tag", id, image.config.labels, name)
    containers.tell(row, "commit", comment=wishes.message, imageID=id, imageRef=name)
    return image


def _write(
    store: Store, row: ContainerRow, wishes: CommitOptions, tell: Callable[[str], object]
) -> Descriptor:
    from ...images.arrows.importer import now

    image, record = of_container(store, row), loads(row.config_json)
    process = record["config"]["process"]
    config = _settings(image.config, process, record.get("labels") or {})
    for change in wishes.changes:
        config = apply_change(config, change)
    layers, command = list(image.manifest.layers), " ".join(process["args"])
    texts = {"created": wishes.created or now(), "author": wishes.author, "comment": wishes.message}
    made = _layer(store, row, mount_points(record["config"]), tell)
    if made:
        layers.append(made[0])
        config = append_layer(config, made[1], command, **texts)
    else:
        config = append_history(config, command, **texts)
    config = with_fields(config, author=wishes.author or None, comment=wishes.message or None)
    return write_image(store, config, layers, media_type=image.manifest.media_type)


def of_container(store: Store, row: ContainerRow) -> Image:
    """The image a container was made from, named or not. Raises NotFound."""
    data = store.blobs.read(Digest(row.image))
    return Image.load(store, Descriptor(parse_document(data).media_type, Digest(row.image), len(data)))


def _layer(
    store: Store, row: ContainerRow, hidden: frozenset[bytes], tell: Callable[[str], object]
) -> tuple[Descriptor, Digest] | None:
    """The container's changes as a layer of the store; None when there are none."""
    active = store.actives.find(row.id)
    if active is None:
        raise NotFound(f"the file system of container {row.name} is missing")
    same, copied = store.actives.compare(active)
    if cost := cost_of(copied):
        tell(cost)
    pipe = Pipe()
    found = [change for change in changes(store, active, hidden) if change.path not in same]

    def write() -> None:
        buffer = PipeBuffer(pipe)
        layer(store, active, found, buffer.write)
        buffer.flush()

    if not found:
        return None
    with running([Worker(write, feeds=pipe)], [pipe]):
        return add_layer(store, pipe)


def _settings(config: ImageConfig, process: dict[str, Any], labels: dict[str, str]) -> ImageConfig:
    """The image's settings with what the user gave the container: as docker's, of the container."""
    args = tuple(process["args"])
    head = tuple(config.entrypoint)
    if head and args[: len(head)] == head:
        config = with_run(config, Cmd=list(args[len(head) :]) or None)
    elif args != tuple(config.cmd):
        config = with_run(config, Entrypoint=None, Cmd=list(args))
    for item in process["env"]:
        name, _, value = item.partition("=")
        if name not in ("HOSTNAME", "TERM"):
            config = with_env(config, name, value)
    user = process["user"].get("username") or None
    cwd = process["cwd"] if process["cwd"] not in ("", "/") else config.run.get("WorkingDir")
    return with_run(config, User=user, WorkingDir=cwd or None, Labels=labels or None)
