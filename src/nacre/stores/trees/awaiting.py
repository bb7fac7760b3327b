"""Reading the tar of a lazy tree where the kernel has nobody wait: whoever fills it is asked first."""

from __future__ import annotations

import os

from ...ground.asking import SOCKET, Asking
from . import files


def await_content(folder: str, offset: int = 0, count: int = 0) -> None:
    """Until these bytes of the tar in the folder of a tree are here, or all of it.

    An ordinary tree needs no waiting. Raises OSError: EIO where they cannot be had.
    """
    if files.missing(folder) is None or not os.path.exists(f"{folder}/{SOCKET}"):
        return
    asking = Asking(folder)
    try:
        asking.wait(offset, count)
    except OSError:
        if files.missing(folder) is not None:  # else the rest has come meanwhile
            raise
    finally:
        asking.close()
