"""Make the system call filter from a published default profile: the facts of it, then the programs.

    python tools/seccomp.py PROFILE.json --source WHENCE --date YYYY-MM-DD
    python tools/seccomp.py                       the programs alone, from the facts that are there

PROFILE.json has docker's form (moby's profiles, seccomp/default.json). What is taken from it: names of system
calls, conditions on their arguments, the capabilities and the processors that they depend on. What depends on
a kernel that nacre does not run on, or on processors that it knows no system calls of, is left out; anything
that is not understood is an error. Written are `facts.py` and `filters.py` in src/nacre/ground/sandbox.
"""

from __future__ import annotations

import argparse
import base64
import json
import textwrap
from pathlib import Path
from typing import Any

ROOM = Path(__file__).resolve().parents[1] / "src/nacre/ground/sandbox"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "riscv64": "riscv64", "loong64": "loongarch64"}
OTHERS = {
    "386",
    "x86",
    "x32",
    "arm",
    "mips",
    "mips64",
    "mips64le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "s390",
    "s390x",
}
OLDEST_KERNEL = (5, 6)
KEYS = {"names", "action", "args", "includes", "excludes", "errnoRet", "comment"}
ACTIONS = {"SCMP_ACT_ALLOW": 0, "SCMP_ACT_ERRNO": 1}
OPERATORS = {"LT": "<", "LE": "<=", "EQ": "==", "NE": "!=", "GE": ">=", "GT": ">", "MASKED_EQ": "&"}


def facts(profile: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Rules: error number (0 allows), names, conditions, capability, capability that excludes, machines."""
    if (profile["defaultAction"], profile.get("defaultErrnoRet", 1)) != ("SCMP_ACT_ERRNO", 1):
        raise SystemExit("the profile does not refuse by default with EPERM")
    rules = (_rule(rule) for rule in profile["syscalls"])
    return [rule for rule in rules if rule]


def _rule(rule: dict[str, Any]) -> tuple[Any, ...] | None:
    if set(rule) - KEYS:
        raise SystemExit(f"unknown in a rule: {sorted(set(rule) - KEYS)}")
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    machines = _machines(includes.get("arches", ()))
    _check_kernel(includes)
    if includes.get("arches") and not machines:
        return None
    if _machines(excludes.get("arches", ())) or "minKernel" in excludes:
        raise SystemExit(f"a rule excludes processors or kernels: {excludes}")
    error = rule.get("errnoRet", 1) if ACTIONS[rule["action"]] else 0
    conditions = tuple(_condition(argument) for argument in rule.get("args") or ())
    return (
        error, tuple(sorted(rule["names"])), conditions, _one(includes.get("caps")),
        _one(excludes.get("caps")), machines,
    )  # fmt: skip


def _machines(arches: Any) -> tuple[str, ...]:
    unknown = set(arches) - set(MACHINES) - OTHERS
    if unknown:
        raise SystemExit(f"unknown processors: {sorted(unknown)}")
    return tuple(MACHINES[name] for name in arches if name in MACHINES)


def _check_kernel(includes: dict[str, Any]) -> None:
    wanted = tuple(map(int, includes.get("minKernel", "0").split(".")))
    if wanted > OLDEST_KERNEL:
        raise SystemExit(f"a rule depends on a kernel that may be absent: {includes}")


def _one(capabilities: list[str] | None) -> str:
    if len(capabilities or ()) > 1:
        raise SystemExit(f"a rule needs several capabilities: {capabilities}")
    return (capabilities or [""])[0]


def _condition(argument: dict[str, Any]) -> tuple[int, str, int, int]:
    operator = OPERATORS[argument["op"].removeprefix("SCMP_CMP_")]
    return argument["index"], operator, argument["value"], argument.get("valueTwo", 0)


HEAD = """\
\"\"\"{what}. Made by tools/seccomp.py: do not edit.

{source}
\"\"\"

from __future__ import annotations

# fmt: off
"""


def write_facts(rules: list[tuple[Any, ...]], source: str, date: str) -> None:
    """As a module."""
    lines = [f'SOURCE = "{source}"', f'DATE = "{date}"', "RULES = ("]
    for error, names, *others in rules:
        text = textwrap.wrap(", ".join(f'"{name}"' for name in names) + ",", 100)
        lines += [f"    ({error}, (", *(f"        {line}" for line in text)]
        lines.append(f"    ), {', '.join(map(_text, others))}),")
    lines.append(
        ')\n"""Error number or 0, names, conditions, capability, excluding capability, machines."""\n'
    )
    head = HEAD.format(
        what="Facts of a public default profile for system calls",
        source=f"Source: {source}\n(of {date}).",
    )
    (ROOM / "facts.py").write_text(head + "\n".join(lines))


def _text(value: object) -> str:
    return repr(value).replace("'", '"')


def write_filters() -> None:
    """The programs for docker's default capabilities, as a module."""
    (ROOM / "filters.py").write_text(filters())


def filters() -> str:
    """What `filters.py` is to hold."""
    from nacre.ground.sandbox import facts, seccomp

    lines = ["FILTERS = {"]
    for machine in sorted(MACHINES.values()):
        text = base64.b64encode(seccomp.program(machine)).decode()
        lines += [f'    "{machine}": (', *(f'        "{part}"' for part in textwrap.wrap(text, 96)), "    ),"]
    head = HEAD.format(
        what="seccomp programs for the default capabilities",
        source=f"In base64, from the facts of {facts.DATE}; `seccomp` says what they do.",
    )
    return head + "\n".join([*lines, "}\n"])


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("profile", nargs="?", type=Path)
    parser.add_argument("--source", default="")
    parser.add_argument("--date", default="")
    given = parser.parse_args()
    if given.profile:
        if not given.source or not given.date:
            raise SystemExit("--source and --date say where the profile is from")
        write_facts(facts(json.loads(given.profile.read_text())), given.source, given.date)
    write_filters()


if __name__ == "__main__":
    main()
