"""What images were made from: what a build has looked up and fetched, and what its RUNs have asked for."""

from __future__ import annotations

from contextlib import suppress

from ...grammars.dockerfile.instructions import RunInstruction
from ...grammars.dockerfile.mounts import parse_mount
from ...images.attestations.materials import BuildMaterials
from ...words.errors import DockerfileError
from .definition import definition_of
from .mounts import agent_id, secret_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...grammars.dockerfile.mounts import RunMount
    from .session import BuildSession


def materials_of(session: BuildSession) -> BuildMaterials:
    """Those of one image, as long as what was fetched is there."""
    fetched = vars(session)  # properties that were never asked for have fetched nothing
    downloads, repositories = fetched.get("downloads"), fetched.get("repositories")
    mounts = [mount for item in _runs(session) for mount in _mounts(item)]
    return BuildMaterials(
        tuple((name, image.config.platform, image.digest) for name, image in session.used_images()),
        tuple(sorted(downloads.fetched())) if downloads else (),
        tuple(sorted(repositories.fetched())) if repositories else (),
        tuple(sorted({secret_id(mount) for mount in mounts if mount.kind == "secret"})),
        tuple(sorted({agent_id(mount) for mount in mounts if mount.kind == "ssh"})),
        session.options.network != "none" and any(item.network != "none" for item in _runs(session)),
        definition=definition_of(session),
    )


def _runs(session: BuildSession) -> Iterator[RunInstruction]:
    for index in session.plan.needed:
        for item in session.plan.stages[index].stage.instructions:
            if isinstance(item, RunInstruction):
                yield item


def _mounts(item: RunInstruction) -> Iterator[RunMount]:
    for token in item.mounts:
        with suppress(DockerfileError):  # a variable in it; the step itself has read it
            yield parse_mount(str(token), item)
