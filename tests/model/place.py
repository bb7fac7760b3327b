"""Where the model runs: one process that runs commands, and the drivers that work here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = Path(__file__).parent
sys.path += [str(_HERE.with_name(room)) for room in ("crash", "client")]

from bench import Zygote, drivers, environment  # noqa: E402


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """Ended at the end; it removes the stores, as some of their files belong to other ids."""
    made = Zygote(folder, environment(folder), str(_HERE / "server.py"))
    try:
        yield made
    finally:
        made.call("remove_stores", folder)
        made.close()


def working(made: Zygote) -> list[str]:
    """The drivers that work here."""
    return drivers(made, made.folder)
