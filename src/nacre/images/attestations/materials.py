"""What a build was made from, as the builder has seen it."""

from __future__ import annotations

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...words.digest import Digest
    from ...words.oci import Platform


class BuildMaterials(Value):
    """`images` are (name, platform, manifest), `urls` and `repositories` (URL, digest), in their
    order.

    `secrets` and `agents` are the ids that RUN has asked for. `networked`: a RUN may have used the network.
    `packages` are (name, version, SHA-256) of Python packages that were installed without a step.
    """

    images: tuple[tuple[str, Platform, Digest], ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    repositories: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    networked: bool = False
    packages: tuple[tuple[str, str, str], ...] = ()


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
