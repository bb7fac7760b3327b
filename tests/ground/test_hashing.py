"""A digest is that of all bytes, whoever hashed them."""

from __future__ import annotations

import hashlib
import io
from itertools import count
from threading import current_thread, main_thread
from typing import Any

import pytest

from nacre.ground.work import hashing, threads
from nacre.ground.work.budget import Budget
from nacre.ground.work.hashing import HashingReader

DATA = bytes(range(256)) * (1 << 16)
PIECE = 1 << 16


def read_all(reader: HashingReader) -> None:
    while reader.read(PIECE):
        continue


def test_it_is_not_taken_before_all_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may stand still between two looks at the clock, for longer than anybody is waited for."""
    monkeypatch.setattr(threads, "monotonic", count(0, 100).__next__)
    with HashingReader(io.BytesIO(DATA), Budget(processors=2)) as reader:
        read_all(reader)
        assert str(reader.digest()) == "sha256:" + hashlib.sha256(DATA).hexdigest()


def test_a_thread_that_failed_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    take = hashing.take

    def failing(hash_: Any, piece: bytes) -> None:
        if current_thread() is not main_thread():
            raise MemoryError
        take(hash_, piece)

    monkeypatch.setattr(hashing, "take", failing)
    data = DATA[: 17 * PIECE]  # all but the last piece are hashed before there is a thread
    with HashingReader(io.BytesIO(data), Budget(processors=2)) as reader:
        read_all(reader)
        with pytest.raises(MemoryError):
            reader.digest()
