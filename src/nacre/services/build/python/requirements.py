"""What is to be resolved."""

from __future__ import annotations

from ....words.value import Value


class Requirements(Value):
    """What is to be resolved. `hashes` are (name, pairs) of the files allowed; `folders` (name, path)."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    require_hashes: bool = False
    pre: bool = False
