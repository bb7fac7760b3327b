"""The C half of sqlite3, and what its import leaves behind."""

from __future__ import annotations

import subprocess
import sys

CHECK = """
import sys
{before}
from nacre.stores.sqlite import sqlite3
db = sqlite3.connect(":memory:", isolation_level=None)
db.execute("CREATE TABLE t (n)")
for number in range(300):
    db.execute("INSERT INTO t VALUES (?)", (number,))
    db.execute(f"SELECT {{number}} FROM t").fetchone()
assert db.execute("SELECT count(*) FROM t").fetchone() == (300,)
{after}
from functools import partial, reduce
import functools
assert functools.lru_cache(2)(abs)(-1) == 1
import sqlite3 as whole
assert whole.Error is sqlite3.Error
"""


def check(before: str = "", after: str = "") -> None:
    code = CHECK.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


PATH = f"sys.path[:] = {sys.path!r}\n"


def test_nothing_stands_in_for_functools_afterwards() -> None:
    check(PATH, "assert 'functools' not in sys.modules and 'collections' not in sys.modules")


def test_functools_that_is_there_stays() -> None:
    check(PATH + "import functools; there = functools", "assert sys.modules['functools'] is there")


def test_no_other_thread_can_meet_what_stands_in() -> None:
    wait = "import _thread; gate = _thread.allocate_lock(); gate.acquire()\n"
    started = "up = _thread.allocate_lock(); up.acquire()\ndef run():\n    up.release(); gate.acquire()\n"
    check(
        PATH + wait + started + "_thread.start_new_thread(run, ()); up.acquire()",
        "assert sys.modules['functools'].partial; gate.release()",
    )
