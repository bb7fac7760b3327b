"""The store as a whole: verified, mended, rebuilt."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..images.audit.check import Report
    from ..stores.rebuild import Rebuilt
    from ..words.progress import Progress
    from .wiring import Wiring


def check(engine: Wiring, repair: bool, progress: Progress | None) -> Report:
    """Verify the whole store, and repair it if asked to."""
    from ..images.audit.check import check
    from .transfers import repository

    return check(
        engine.store, repair=repair, progress=progress, sources=lambda name: repository(engine, name)
    )


def rebuild(engine: Wiring) -> Rebuilt:
    """Make the database again, as far as it is damaged; the store must not be open."""
    from ..stores.layout import has_content
    from ..stores.rebuild import Rebuilt, rebuild

    if not has_content(engine.root):
        return Rebuilt("")
    single = engine.mapping.single if engine.mapping else None
    return rebuild(engine.root, single=single)
