"""`python -m benchmarks [NAME…]`, from the root of the checkout."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .bench import Bench
from .harness import (
    MOUNTS,
    Scenario,
    Weighed,
    end_cleanly,
    machine,
    measure,
    report,
    rows,
    table,
    timed,
    weights,
)
from .page import page
from .scenarios import SCENARIOS
from .steady import Steady

_HYBRID = "/sys/fs/cgroup/unified"


def main() -> int:
    """Measure what was asked for."""
    args = _arguments()
    _privately()
    end_cleanly()
    scratch = Path(args.scratch or tempfile.mkdtemp(prefix="nacre-bench-", dir="/var/tmp"))
    scratch.mkdir(parents=True, exist_ok=True)
    scratch.chmod(0o755)  # ordinary users have folders in it
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        if not args.scratch and not args.keep:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        bench = Bench(scratch, stack, args.nacre)
        bench.sizes = args.sizes
        stack.callback(lambda: [peer.remove_containers() for peer in bench.ready])
        for name in args.names or SCENARIOS:
            text, results[name] = _measure(SCENARIOS[name], bench, args.rounds)
            if not args.json:
                print("\n" + text, flush=True)
        versions = {peer.name: peer.version() for peer in bench.ready}
    document = report(results, versions)
    if args.report:
        parts = [*map(_read, args.parts), document]
        questions = {name: scenario.question for name, scenario in SCENARIOS.items()}
        Path(args.report).write_text(page(parts, questions), encoding="utf-8")
    if args.json:
        print(json.dumps(document, indent=2))
    else:
        print("\n" + "\n".join([*versions.values(), " ".join(f"{k}={v}" for k, v in machine().items())]))
    return 0


def _measure(scenario: Scenario, bench: Bench, rounds: int) -> tuple[str, Any]:
    """As text and for the report."""
    if isinstance(scenario, Weighed):
        found = list(scenario.weigh(bench))
        return weights(scenario.question, found), dict(found)
    cases = list(scenario.cases(bench))
    with Steady(bench.scratch) as steady:
        ready = steady.reach if scenario.steady else _nothing
        measure(cases, min(rounds, scenario.most), scenario.warm, ready)
    skipped = {case.name: case.skipped for case in cases if case.skipped}
    text = table(scenario.question, rows(cases), skipped, scenario.unit)
    return "\n".join([text, *scenario.notes()]), timed(rows(cases), skipped)


def _nothing() -> None:
    pass


def _read(name: str) -> dict[str, Any]:
    """What an earlier run has printed with `--json`."""
    document: dict[str, Any] = json.loads(Path(name).read_text(encoding="utf-8"))
    return document


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}; default all")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each case (default 15)")
    parser.add_argument("--scratch", default="", help="an empty folder for all storage; it stays afterwards")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder made by default")
    parser.add_argument("--nacre", default="", help="measure this program instead of installing the checkout")
    parser.add_argument(
        "--sizes", type=_sizes, default=(10, 100, 1000), metavar="N,N",
        help="images and containers for growth, a hundred times as many files (default 10,100,1000)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    parser.add_argument("--report", default="", metavar="FILE", help="write an HTML page with charts as well")
    parser.add_argument(
        "--with", dest="parts", action="append", default=[], metavar="FILE",
        help="show on the page what an earlier run printed with --json too; may be given several times",
    )  # fmt: skip
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}")
    return args


def _sizes(text: str) -> tuple[int, ...]:
    """Raises ValueError."""
    return tuple(sorted({max(1, int(word)) for word in text.split(",")}))


def _privately() -> None:
    """As root in a mount namespace of our own, where the mixed cgroups that crun refuses are hidden."""
    if os.geteuid() or not os.path.ismount(_HYBRID) or os.environ.get(MOUNTS):
        return
    machine = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    os.set_inheritable(machine, True)
    os.environ[MOUNTS] = str(machine)
    words = [
        "sh",
        "-c",
        f'umount {_HYBRID}; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "benchmarks",
        *sys.argv[1:],
    ]
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *words])


if __name__ == "__main__":
    sys.exit(main())
