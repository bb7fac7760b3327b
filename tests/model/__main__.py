"""`python -m tests.model --seed N --minutes M`: as long as wanted, on every driver that works here."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from .operations import WEIGHTS
from .place import working, zygote
from .runner import Runner

_STEPS = 60
"""Of one store; then another one is begun, with the next seed."""


def main() -> int:
    """Exit code 1 for the first thing that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=_STEPS, help="steps of each store")
    parser.add_argument("--driver", default="", help="only this one")
    parser.add_argument("--crowd", type=int, default=20, help="stopped containers of each store")
    parser.add_argument("--only", default="", help=f"only these operations, of {','.join(WEIGHTS)}")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of every operation")
    wanted = parser.parse_args()
    end, seed = time.monotonic() + wanted.minutes * 60, wanted.seed
    with tempfile.TemporaryDirectory() as folder, zygote(Path(folder)) as made:
        drivers = working(made)
        while time.monotonic() < end:
            for driver in [wanted.driver] if wanted.driver else drivers:
                print(f"seed {seed}, {driver}", flush=True)
                begun = time.monotonic()
                runner = Runner(
                    made, Path(folder) / f"{seed}-{driver}", driver, seed, others=drivers, crowd=wanted.crowd,
                    only=[kind for kind in wanted.only.split(",") if kind],
                    tell=print if wanted.verbose else lambda _line: None,
                )  # fmt: skip
                try:
                    runner.run(wanted.steps)
                except AssertionError as error:
                    print(error)
                    return 1
                finally:
                    runner.close()
                print(
                    f"  {runner.steps} steps, {runner.operations} operations, {runner.killed} killed, "
                    f"{runner.compared} exports and {runner.pulled} pulls compared, "
                    f"{time.monotonic() - begun:.0f} s",
                    flush=True,
                )
            seed += 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
