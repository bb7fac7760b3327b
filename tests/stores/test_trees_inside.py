"""The contract of trees once more, for an ordinary user: inside the user namespace that nacre enters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from machine import remove

from nacre.ground import userns

SUITE = Path(__file__).with_name("test_trees.py")


def _contract(folder: str) -> tuple[int, str]:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", folder, str(SUITE)]
    words += ["-k", "single" if userns.current().single else "userxattr or single"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_contract_holds_inside(tmp_path: Path) -> None:
    if userns.mapped():
        pytest.skip("root runs the contract itself")
    try:
        userns.call(userns.enter)
    except Exception as error:
        pytest.skip(f"no user namespace here: {error}")
    try:
        code, said = userns.call(_contract, str(tmp_path / "inside"))
    finally:
        remove(tmp_path / "inside")  # pytest cannot: its files have owners of the namespace
    assert code == 0, said
    assert " passed" in said
    assert os.geteuid() != 0
