"""Running a program on whatever root there is."""

from __future__ import annotations

from ...words.mount import Directory
from . import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...words.mount import Mount
    from .stdio import Attachment


def run(
    config: Mapping[str, Any], root: Mount, attached: Attachment | None = None, *, volatile: bool = False
) -> int:
    """`process.run`, or for a folder that is a whole root already `chrooted.run`."""
    if isinstance(root, Directory):
        from . import chrooted

        return chrooted.run(config, root, attached, volatile=volatile)
    return process.run(config, root, attached, volatile=volatile)
