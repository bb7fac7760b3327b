"""What is wrong with a source is a fault of the Dockerfile at the place that names it."""

from __future__ import annotations

from ...words.errors import ContentError, NotFound, RegistryError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...grammars.dockerfile.instructions import Instruction
    from ...words.errors import NacreError


def at_fault(item: Instruction, token: str) -> Callable[[NacreError], NacreError]:
    """What cannot be fetched is a fault of the file at that place."""

    def blame(error: NacreError) -> NacreError:
        if isinstance(error, NotFound | RegistryError | ContentError | UsageError):
            return item.error(error.message, token, hint=error.hint)
        return error

    return blame
