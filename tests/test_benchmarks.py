"""What the benchmarks count: the CPU of a command with all that it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from benchmarks import adopter
from benchmarks.harness import Case, Skip
from benchmarks.page import page

BURN = 0.15
_BURNS = "import time\nwhile time.process_time() < {seconds}: pass\n"
_LEAVES = """
import os, sys
ended, theirs = os.pipe()
if os.fork() == 0:  # as a shim does: a session of its own, and whoever began it is gone
    os.setsid()
    if os.fork() == 0:
        import time
        while time.process_time() < {seconds}: pass
        os.write(theirs, b"!")
        {then}
    os._exit(0)
os.wait()
os.close(theirs)
os.read(ended, 1)
"""


def ran(script: str, **options: object) -> Case:
    case = Case("x", [sys.executable, "-I", "-S", "-c", script], **options)  # type: ignore[arg-type]
    case.samples.append(case.run(0, lambda: None))
    return case


@pytest.mark.parametrize("stays", [False, True])
def test_what_left_its_tree_counts_with_the_command(stays: bool, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDWR)
    then = f"open({str(tmp_path / 'held')!r}).read()" if stays else "os._exit(0)"
    (sample,) = ran(_LEAVES.format(seconds=BURN, then=then)).samples
    os.close(held)
    assert sample.cpu >= BURN - 0.02  # what is still there is counted in ticks
    assert sample.wall >= BURN
    assert sample.peak > 1 << 20


def test_a_command_runs_beside_threads_of_a_scenario() -> None:
    ended = threading.Event()
    beside = threading.Thread(target=ended.wait)
    beside.start()
    try:
        assert ran("pass").samples[0].cpu > 0
    finally:
        ended.set()
        beside.join()


def test_a_command_that_fails_is_skipped_with_what_it_said() -> None:
    with pytest.raises(Skip, match="ended with 3: no luck"):
        ran("import sys; print('no luck'); sys.exit(3)")
    with pytest.raises(OSError, match="No such file"):
        Case("x", ["/no/such/program"]).run(0, lambda: None)


def test_what_a_daemon_starts_counts_with_it(tmp_path: Path) -> None:
    """Also what it no longer knows, and what was ended by then."""
    served = tmp_path / "served"
    script = f"""
import os, signal, sys
sys.stdin.readline()
exec({_LEAVES.format(seconds=BURN, then="os._exit(0)")!r})
open({str(served)!r}, "w").close()
print("served", flush=True)
signal.pause()
"""
    words = [sys.executable, "-I", "-S", adopter.__file__, sys.executable, "-I", "-S", "-c", script]
    with (
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon,
        ending(daemon),
    ):
        assert daemon.stdin
        assert daemon.stdout
        before = adopter.cpu_of(daemon.pid)
        daemon.stdin.write("go\n")
        daemon.stdin.flush()
        assert daemon.stdout.readline() == "served\n"
        _until(lambda: adopter.cpu_of(daemon.pid) - before >= BURN - 0.03)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait() == 128 + signal.SIGTERM


@contextmanager
def ending(daemon: subprocess.Popen[str]) -> Iterator[None]:
    """It ends, whatever the test finds."""
    try:
        yield
    finally:
        daemon.terminate()


def _until(holds: object) -> None:
    assert callable(holds)
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_of_a_command_that_serves_only_the_time_until_it_answers_counts(tmp_path: Path) -> None:
    answered = tmp_path / "answered"
    script = f"open({str(answered)!r}, 'w').close()\n" + _BURNS.format(seconds=0.1)
    (sample,) = ran(script, until=lambda _pid: _until(answered.exists)).samples
    assert sample.cpu >= 0.1
    assert sample.wall < sample.cpu + 60


def test_a_page_has_the_last_figures_of_each_scenario() -> None:
    old, new = (
        {
            "machine": {"day": day},
            "versions": {"docker": "Docker <28>"},
            "scenarios": {
                "run": {"rows": [_row("nacre", median, 0), _row("docker", 300.0, 0)], "skipped": {}}
            },
        }
        for day, median in (("2026-01-01", 77.0), ("2026-01-02", 55.0))
    )
    other = {
        **old,
        "scenarios": {"rate": {"rows": [_row("nacre", 50.0, 1000)], "skipped": {"zot": "absent"}}},
    }
    drawn = page([old, other, new], {"rate": "How many", "run": "How fast", "never": "Not measured"})
    assert "55.0 ms (1.00 times)" in drawn
    assert "77.0" not in drawn
    assert "2026-01-02" in drawn
    assert "50.0 µs each" in drawn
    assert "zot: absent" in drawn
    assert "Docker &lt;28&gt;" in drawn
    assert "Not measured" not in drawn
    assert drawn.index("How many") < drawn.index("How fast")


def _row(case: str, median: float, count: int) -> dict[str, object]:
    times = {"median": median, "lowest": median, "highest": median, "cpu": 0.0}
    return {"case": case, **times, "count": count, "ratio": 1.0, "cpu_ratio": 1.0}
