"""The peers and what they share, each started or made when the first scenario asks for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from . import bigimage, mirror
from .harness import Case, Skip
from .lines import Line
from .peers import Docker, Nacre, Peer, Podman, Skopeo, busybox_tar, users_nacre

P, S = TypeVar("P", bound=Peer), TypeVar("S")


class Bench:
    """`stack` ends what is started here. `sizes` are those for which growth is asked."""

    sizes: Sequence[int] = (10, 100, 1000)

    def __init__(self, scratch: Path, stack: ExitStack, nacre: str = "") -> None:
        self.scratch, self.stack, self._program = scratch, stack, nacre
        """What is entered there ends at the end."""
        self.ready: list[Peer] = []
        self._shared: dict[Any, Any] = {}
        self._numbers = itertools.count()
        self._rounds = stack.enter_context(ExitStack())

    def shared(self, make: Callable[[Bench, ExitStack], S]) -> S:
        """What several scenarios share, made once; ended at the end."""
        if make not in self._shared:
            self._shared[make] = make(self, self.stack)
        found: S = self._shared[make]
        return found

    def with_base(self, peer: P) -> P:
        """A peer that has the base image."""
        peer.load_base(busybox_tar())
        self.ready.append(peer)
        return peer

    @cached_property
    def nacre(self) -> Nacre:
        return self.with_base(Nacre(self.scratch, self._program))

    @cached_property
    def podman(self) -> Podman:
        return self.with_base(Podman(self.scratch))

    @cached_property
    def docker(self) -> Docker:
        return self.with_base(Docker(self.scratch / "docker", self.stack))

    @cached_property
    def buildah(self) -> Podman:
        """Its base image is podman's: they share their storage."""
        peer = Podman(self.scratch, "buildah")
        assert self.podman
        self.ready.append(peer)
        return peer

    @cached_property
    def skopeo(self) -> Skopeo:
        """It copies only, and needs no image of its own."""
        peer = Skopeo(self.scratch)
        self.ready.append(peer)
        return peer

    def each(self, *names: str) -> Iterator[Peer | Case]:
        """Peers in this order; one that cannot be had is a case that says why."""
        for name in names:
            try:
                yield getattr(self, name)
            except Skip as reason:
                yield Case(name, (), skipped=str(reason))

    def fresh(self, name: str = "fresh") -> Path:
        """A new empty folder; none is removed before the end."""
        folder = self.scratch / f"{name}-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def fresh_docker(self) -> Docker:
        """A docker with empty storage; the one before it is stopped."""
        self._rounds.close()
        return Docker(self.fresh("docker"), self._rounds)

    def fresh_registry(self) -> str:
        """`host:port` of an empty docker-registry; what this gave before is stopped."""
        self._rounds.close()
        return bigimage.registry(self.fresh("registry"), self._rounds)

    def line(self, target: str, trip: float = 0.0, rate: float = float("inf")) -> Line:
        """A line to `host:port`, of its own host and port; ended at the end."""
        line = Line(target, trip, rate)
        self.stack.callback(line.close)
        return line

    def users_nacre(self, folder: Path, user: int) -> str:
        """A nacre that an ordinary user can start."""
        return users_nacre(folder, user)

    @cached_property
    def registry(self) -> str:
        """`host:port` of a docker-registry."""
        return bigimage.registry(self.fresh("registry"), self.stack)

    @cached_property
    def big(self) -> str:
        """The big image in nacre's store; its name there."""
        assert self.debian
        return bigimage.make(self.nacre, self.fresh("big"))

    @cached_property
    def debian(self) -> str:
        """A minimal Debian in nacre's store; its name there."""
        return bigimage.debian(self.nacre, self.fresh("debian"))

    @cached_property
    def pushed_big(self) -> str:
        """The big image in the registry."""
        reference = f"{self.registry}/{self.big}"
        self.nacre.call("tag", self.big, reference)
        self.nacre.call("push", "-q", reference)
        return reference

    @cached_property
    def slim(self) -> str:
        """A Debian that is set up as its official image is; its name, under which every peer can have it."""
        return bigimage.slim(self.nacre, self.fresh("slim"), self.debian)

    @cached_property
    def compiler(self) -> str:
        """The same with a compiler."""
        assert self.slim
        return bigimage.compiler(self.nacre, self.fresh("compiler"), self.mirror)

    @cached_property
    def mirror(self) -> str:
        """The URL of a proxy that fetches each package once."""
        return mirror.serve(self.fresh("mirror"), self.stack)

    def share(self, peer: Peer, image: str) -> None:
        """Let a peer have an image of ours under its name. Raises Skip."""
        if peer is self.nacre:
            return
        tar = self.fresh("share") / "image.tar"
        self.nacre.call("save", "-o", str(tar), image)
        (self.podman if peer.name == "buildah" else peer).call("load", "-i", str(tar))
        tar.unlink()

    def have_big(self, peer: Peer) -> str:
        """The name under which `peer` has the big image; pulled if it is not there yet. Raises Skip."""
        if peer is self.nacre:
            return self.big
        flags = ["--tls-verify=false"] if isinstance(peer, Podman) else []
        peer.call("pull", "-q", *flags, self.pushed_big)
        return self.pushed_big


def case_of(name: str, make: Callable[[], Case]) -> Case:
    """The case that `make` gives, or one that says why it cannot be had."""
    try:
        return make()
    except Skip as reason:
        return Case(name, (), skipped=str(reason))
