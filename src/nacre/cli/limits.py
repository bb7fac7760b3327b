"""Limits as `run`, `create`, `build` and `update` have them on the line."""

from __future__ import annotations

from ..images.model.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def read_limits(context: Context, args: Args) -> Limits:
    """Those that are given."""
    if "kernel_memory" in args.given:
        context.warn("WARNING: --kernel-memory ignored: Linux has no limit for it any more")
    given = {name: getattr(args, name) for name in Limits._fields if name in args.given}
    return Limits.of(given)
