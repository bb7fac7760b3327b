"""The lanes of CI: users run every file of tests, and root each that asks for root or for a program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LANES = ROOT / ".ci" / "lanes"
USERS = ("oldest", "oldest-running", "newest")
FOR_ROOT = re.compile(r"\bneeds_root\(")
PROGRAMS = re.compile(r"postgresql|S3Server|chromium")
"""What no user's Debian has."""


def files(lane: str) -> list[Path]:
    """What pytest finds with the arguments of a lane."""
    if not LANES.exists():
        pytest.skip("only a checkout has .ci/lanes")
    script = f"set -eu; . .ci/lanes; lane {lane}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    words = done.stdout.split()
    ignored = [ROOT / word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
    wanted = [ROOT / word for word in words if not word.startswith("--")]
    found = [path for place in wanted for path in (place.rglob("test_*.py") if place.is_dir() else [place])]
    assert all(place.exists() for place in (*wanted, *ignored))
    return [path for path in found if not any(path.is_relative_to(place) for place in ignored)]


def every() -> set[Path]:
    return set((ROOT / "tests").rglob("test_*.py"))


def test_users_run_every_file() -> None:
    assert {path for lane in USERS for path in files(lane)} == every()


def test_no_user_runs_a_file_twice() -> None:
    for lanes in (USERS[:2], USERS[2:], ("root", "root-running")):
        found = [path for lane in lanes for path in files(lane)]
        assert found
        assert sorted(found) == sorted(set(found))


def test_root_runs_what_asks_for_it() -> None:
    """What it leaves to the users asks neither for root nor for a program that only its machine has."""
    left = every() - {path for lane in ("root", "root-running") for path in files(lane)} - {Path(__file__)}
    assert left
    asking = [path.name for path in left if FOR_ROOT.search(path.read_text(encoding="utf-8"))]
    assert asking == []
    server = [path for path in left if path.parent.name in ("server", "cli")]
    assert [path.name for path in server if PROGRAMS.search(path.read_text(encoding="utf-8"))] == []
