"""What a test may need of the machine, and how to clean up behind other ids."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import fuse, userns


def needs_userns() -> None:
    """Skip where an ordinary user may not make a user namespace."""
    try:
        userns.call(userns.enter)
    except Exception as error:
        pytest.skip(f"no user namespace here: {error}")


def served_in_userns(work: Callable[[], Any]) -> Any:
    """What `work` gives in a user namespace of one id, where /dev/fuse can be used; skips where it cannot."""

    def inside() -> Any:
        userns.make(((0, os.geteuid(), 1),), ((0, os.getegid(), 1),))
        return "no" if fuse.obstacle() else work()

    found = userns.apart(inside)
    if found == "no":
        pytest.skip("FUSE cannot be used here")
    return found


def needs_root() -> None:
    """Skip unless this process may mount and change owners."""
    if not userns.mapped():
        pytest.skip("needs root")


def reserved_port() -> socket.socket:
    """A port of 127.0.0.1 at which nobody answers, and nobody gets by chance until this is closed.

    A program that sets SO_REUSEADDR, as servers do, can listen there (socket(7)).
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    return made


def remove(path: Path) -> None:
    """Remove a tree, also when files in it belong to ids of our user namespace."""
    from nacre.ground.files import remove_tree

    if not path.exists():
        return
    if userns.mapped():
        remove_tree(str(path))
    else:
        userns.call(remove_tree, str(path))
