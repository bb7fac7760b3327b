"""What a test may need of the machine, and how to clean up behind other ids."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from nacre.ground import userns


def needs_userns() -> None:
    """Skip where an ordinary user may not make a user namespace."""
    try:
        userns.call(userns.enter)
    except Exception as error:
        pytest.skip(f"no user namespace here: {error}")


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
