"""What a build was made from, as the builder has seen it."""

from __future__ import annotations

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...words.digest import Digest
    from ...words.oci import Descriptor, Platform


CONTEXT = "local://context"
"""The source that is the context."""


class DefinedStep(Value):
    """One step of a definition: a `source`, or an `instruction` of the stage `stage`.

    `inputs` are the names of the steps whose files it begins from or takes from. `lines` are the first and
    last line in the Dockerfile, 0 for none. `layers` are those that it has added.
    """

    name: str
    source: str = ""
    instruction: str = ""
    stage: str = ""
    platform: str = ""
    inputs: tuple[str, ...] = ()
    lines: tuple[int, int] = (0, 0)
    layers: tuple[Descriptor, ...] = ()


class BuildMaterials(Value):
    """`images` are (name, platform, manifest), `urls` and `repositories` (URL, digest), in their
    order.

    `secrets` and `agents` are the ids that RUN has asked for. `networked`: a RUN may have used the network.
    `packages` are (name, version, SHA-256) of Python packages that were installed without a step.
    `definition` has every step after those that it is made from.
    """

    images: tuple[tuple[str, Platform, Digest], ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    repositories: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    networked: bool = False
    packages: tuple[tuple[str, str, str], ...] = ()
    definition: tuple[DefinedStep, ...] = ()


class BuildRequest(Value):
    """What was asked for: `arguments` with BuildKit's names, `locals` the folders of this machine.

    `source` is (URL, digest) of a context from elsewhere, `file` the name of the Dockerfile and `text` its
    content. `versioned` is what git says of a context: (name, value).
    """

    arguments: tuple[tuple[str, str], ...] = ()
    locals: tuple[str, ...] = ()
    source: tuple[str, str] = ("", "")
    file: str = ""
    text: str = ""
    versioned: tuple[tuple[str, str], ...] = ()
    frontend: str = "dockerfile.v0"
