"""`nacre logout`: forget the credentials for a registry."""

from __future__ import annotations

from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args


def run(context: Context, args: Args) -> int:
    """Forget them; that there were none is no error, as in docker."""
    from ..words.reference import registry_name

    registry = registry_name(args.positionals[0] if args.positionals else "")
    if context.engine.registries.logout(registry):
        context.print(f"Removing login credentials for {registry}")
    else:
        context.print(f"Not logged in to {registry}")
    return 0


COMMAND = Command("[SERVER]", run=run, store=False, details="The default SERVER is Docker Hub.")
