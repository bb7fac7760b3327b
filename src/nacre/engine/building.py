"""Builds: the builder is handed what it needs, and a way to resolve FROM."""

from __future__ import annotations

from ..services.build import Builder, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.model.image import Image
    from ..services.build import BuildOptions, BuildResult
    from ..words.oci import Platform
    from ..words.progress import Progress
    from . import Engine


def build(
    engine: Engine, context: str, dockerfile: str, options: BuildOptions, progress: Progress | None
) -> BuildResult:
    """Build the folder `context` and name the image."""

    def base(name: str, wanted: Platform | None) -> Image:
        return engine.resolve(name, wanted, progress=progress)

    with load(engine.store, context, dockerfile) as inputs:
        return Builder(engine.store, base, progress).build(inputs, options)
