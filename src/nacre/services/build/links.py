"""The image of another target of a bake file, for a build that is made from it."""

from __future__ import annotations

from ...grammars.dockerfile.namedcontext import TARGET_IMAGE
from ...words.errors import Unsupported
from .result import write_result
from .waiting import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...images.model.image import Image
    from ...words.oci import Platform
    from .session import BuildSession


def linked_image(session: BuildSession, name: str, platform: Platform | None) -> Image | None:
    """The image of another target, for one platform of this one; None as long as that is at work.

    Raises Waiting for layers that are in a cache elsewhere, and Unsupported for no such platform.
    """
    other = _fitting(session, name, platform)
    made = other.made
    if made is None:
        return None
    lacking = other.cache.imports.lacking(made.diff_ids)
    if lacking:
        step = session.report.step("importing layers from the cache")
        if session.schedules:
            raise Waiting(("layers", *lacking), lambda: other.bring(lacking, step), step)
        other.bring(lacking, step)
    return write_result(session.store, made, other.options)


def _fitting(session: BuildSession, name: str, platform: Platform | None) -> BuildSession:
    others = session.links[name]
    wanted = platform or session.plan.platform
    for other in others:
        if other.plan.platform == wanted:
            return other
    if len(others) == 1:
        return others[0]
    raise Unsupported(f"the target {name.removeprefix(TARGET_IMAGE)} is not built for {wanted}")
