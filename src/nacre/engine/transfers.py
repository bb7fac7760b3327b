"""Images that move: pull, push, copy, mirror, and lists of images for several platforms."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..ground.files import os_errors
from ..words.errors import UsageError
from ..words.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from ..grammars.config.mirrors import MirrorEntry
    from ..ground.work.budget import Budget
    from ..images.arrows.copying import Choice, Copied
    from ..images.arrows.manifestlist import ManifestLists
    from ..images.arrows.mirroring import Outcome, Rules
    from ..images.arrows.pull import PullResult
    from ..images.arrows.push import PushResult
    from ..images.layers.repack import Packing
    from ..images.places.place import Place, Places
    from ..services.client import Client
    from ..services.client.repository import Repository
    from ..words.oci import Descriptor, Platform
    from ..words.progress import Progress
    from .archives import Origin
    from .network import NetworkSettings
    from .wiring import Wiring

_MAX_LIST = 1 << 20
_AT_ONCE = 3


def repository(engine: Wiring, name: str) -> Repository:
    """The repository of a registry that has this full name, `registry/repository`."""
    return engine.client.repository(Reference.parse(name))


def budget(engine: Wiring, transfers: int = 0) -> Budget:
    """For a transfer: so many layers or blobs at once, 0 for as many as the settings say."""
    return engine.budget.limited(transfers=transfers or engine.network.settings.concurrency or 0)


def pull(
    engine: Wiring, reference: Reference, platform: Platform | None = None, progress: Progress | None = None
) -> PullResult:
    """From the registry that the reference names into the store."""
    from ..images.arrows.pull import pull

    result = pull(
        engine.client.repository(reference), reference, engine.store, platform=platform, progress=progress,
        budget=budget(engine),
    )  # fmt: skip
    engine.tell("image", "pull", reference.familiar, reference.familiar_name)
    return result


def pull_lazily(
    engine: Wiring, reference: Reference, platform: Platform | None = None, progress: Progress | None = None
) -> PullResult:
    """As `pull`, but the image is here before the content of its layers is, which a process goes on to fetch.

    Where that cannot be had everything comes first, and a line says why.
    """
    from ..images.arrows.pull import pull_lazily
    from .filling import fill, obstacle

    if why := obstacle(engine.store):
        if progress:
            progress.line(f"the image comes whole: {why}")
        return pull(engine, reference, platform, progress)

    source = engine.client.repository(reference)
    with engine.store.leases.hold():
        done = pull_lazily(
            source, reference, engine.store, platform=platform, progress=progress, budget=budget(engine)
        )
        if done.layers:
            fill(engine, reference, source, done)
    engine.tell("image", "pull", reference.familiar, reference.familiar_name)
    return done.result


def tags(engine: Wiring, repository: Reference, remote: bool) -> list[Reference]:
    """The tags of a repository, here or in its registry."""
    if remote:
        return [repository.replace(tag=tag) for tag in engine.client.repository(repository).tags()]
    prefix = repository.name + ":"
    names = sorted(ref.name for ref in engine.store.refs.list() if ref.name.startswith(prefix))
    return [repository.replace(tag=name.removeprefix(prefix)) for name in names]


def pull_all(
    engine: Wiring, references: Sequence[Reference], platform: Platform | None,
    tell: Callable[..., object] | None, progress: Progress | None,
) -> list[PullResult]:  # fmt: skip
    """Some references at a time; the results in their order."""
    from time import monotonic

    from ..ground.work.threads import in_parallel

    done: dict[Reference, PullResult] = {}

    def fetch(reference: Reference, _stop: Event) -> None:
        began = monotonic()
        done[reference] = result = pull(engine, reference, platform, progress)
        if tell:
            tell(reference, result, monotonic() - began)

    with engine.store.leases.hold():
        in_parallel(fetch, references, _AT_ONCE)
    return [done[reference] for reference in references]


def push(
    engine: Wiring, reference: Reference, descriptor: Descriptor, *, packing: Packing | None = None,
    form: str = "", progress: Progress | None = None,
) -> PushResult:  # fmt: skip
    """The image of a manifest to the registry that the reference names."""
    from ..images.arrows.push import Sending, push

    how = Sending(packing, form, lambda name: repository(engine, name), budget(engine))
    sink = engine.client.repository(reference)
    return push(engine.store, descriptor, sink, reference.target, how, progress)


def push_attested(
    engine: Wiring, reference: Reference, descriptor: Descriptor, *, packing: Packing | None = None,
    form: str = "", progress: Progress | None = None,
) -> PushResult:  # fmt: skip
    """As `push`, with what is attached to the image, unless another form of it is sent."""
    from ..images.arrows.copying import Choice, copy
    from ..images.places.local import StoreSource
    from ..words.progress import NullProgress

    index = engine.store.refs.index(str(reference))
    if index is None or packing or form:
        told = progress or NullProgress()
        told.line("attestations are left out: they speak of the image as it is")
        return push(engine, reference, descriptor, packing=packing, form=form, progress=progress)
    by_digest = reference.replace(tag="", digest=descriptor.digest)
    sent = push(engine, by_digest, descriptor, progress=progress)
    sink = engine.client.repository(reference)
    source = StoreSource(engine.store, "", lambda name: repository(engine, name))
    asked, choice = by_digest.replace(digest=index.digest), Choice(all=True, budget=budget(engine))
    copy(source, asked, sink, reference.target, choice, progress)
    engine.store.refs.add_digest(sink.where, index.digest, descriptor.digest)
    return sent.replace(digest=index.digest, size=index.size)


def copy(
    engine: Wiring, ends: tuple[Place, Place], networks: tuple[NetworkSettings, NetworkSettings],
    choice: Choice, progress: Progress | None = None,
) -> Copied:  # fmt: skip
    """From one place to another, by way of the store only where one of them is in it."""
    from ..images.arrows.copying import copy_between
    from ..images.model.blobinfo import BlobInfoCache

    choice = choice.replace(seen=BlobInfoCache(engine.paths.seen))
    source, target = ends
    with _reached(engine, networks[0], progress) as origin, _reached(engine, networks[1], progress) as to:
        return copy_between(origin, source, target, choice, progress=progress, to=to)


@contextmanager
def _reached(engine: Wiring, network: NetworkSettings, progress: Progress | None) -> Iterator[Places]:
    """The places that are reached in a way of their own."""
    if network.replace(docker_host="") == engine.network.replace(docker_host=""):
        yield places(engine, engine.client, progress, network.docker_host)
        return
    from .network import client_of

    with client_of(engine.config, network) as client:
        yield places(engine, client, progress, network.docker_host)


def places(engine: Wiring, client: Client, progress: Progress | None, docker_host: str) -> Places:
    """The places of this machine, and those that a client reaches."""
    from ..images.places.place import Places
    from ..services.daemon import DockerDaemon

    return Places(
        lambda: engine.store, client.repository, lambda: DockerDaemon(docker_host), engine.config.folder,
        progress, engine.budget,
    )  # fmt: skip


def lists(engine: Wiring, progress: Progress | None = None) -> ManifestLists:
    """The lists that are being put together here."""
    from ..images.arrows.manifestlist import ManifestLists

    reached = places(engine, engine.client, progress, engine.network.docker_host)
    return ManifestLists(engine.paths.manifests, reached, lambda: engine.store)


def mirror(
    engine: Wiring, entries: Sequence[MirrorEntry], rules: Rules, tell: Callable[[Outcome], object],
    progress: Progress | None = None,
) -> None:  # fmt: skip
    """Every entry of a list; `tell` hears from several threads what became of each tag."""
    from ..images.arrows.mirroring import mirror_all

    mirror_all(
        entries, engine.client.repository, engine.paths, rules.replace(budget=budget(engine)), tell,
        progress=progress,
    )  # fmt: skip


def read_list(origin: Origin) -> tuple[str, str]:
    """The text of a list of mirrors, and how messages call it. Raises StoreError, UsageError."""
    if isinstance(origin, str | os.PathLike):
        path = os.fspath(origin)
        with os_errors(f"read {path}"), open(path, "rb") as file:
            data = file.read(_MAX_LIST + 1)
    else:
        path, data = "-", origin.read(_MAX_LIST + 1)
    if len(data) > _MAX_LIST:
        raise UsageError(f"{path} has more than the {_MAX_LIST} bytes allowed here")
    try:
        return data.decode(), path
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
