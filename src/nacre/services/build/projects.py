"""Whether a folder without a Dockerfile is a Python project, told by the names of its files."""

from __future__ import annotations

import os

from ...words.light import suppress
from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...ground.files import Root


class PackageIndexes(Value):
    """Where packages come from: `urls` of indexes or folders, the first asked first, () for the usual one.

    `netrc` is a file of passwords, `netrc_data` what is in one that counts instead. `variables` of the
    environment may stand in requirements, and give passwords for indexes as uv and Poetry have it. `keyring`
    is a program that is asked for the password of a user, "" for none.
    """

    urls: tuple[str, ...] = ()
    netrc: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    netrc_data: bytes = b""
    keyring: str = ""


NETRC, PIP_CONF = "netrc", "pip.conf"
"""Secrets that say of indexes what the files of these names do."""
PROJECT, REQUIREMENTS = "pyproject.toml", "requirements.txt"
LOCKS = ("uv.lock", "pylock.toml", "poetry.lock")
"""Lock files, the one that counts first where there are several."""


def project_file(root: Root) -> str:
    """The file that says what the project needs, "" where none does."""
    return next((name for name in (PROJECT, *LOCKS, REQUIREMENTS) if is_there(root, name)), "")


def is_there(root: Root, name: str) -> bool:
    """Whether anything has this name."""
    with suppress(OSError):
        os.close(root.open(name, os.O_PATH))
        return True
    return False
