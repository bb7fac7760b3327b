"""A store in a known state, commands on copies of it, and what is asked of the store afterwards."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nacre as package

SOURCE = Path(package.__file__).parent
ALL = os.environ.get("NACRE_CRASH") == "all"
"""Try everything, which takes minutes; otherwise a choice, always the same."""
KEPT = ("busybox:1", "keep:1")
"""Names that no command of a scenario takes away."""


class Said(NamedTuple):
    """How one command ended."""

    code: int
    err: str
    value: Any = None


class Zygote:
    """The other end of `zygote.py`, or of a `script` around it; close it."""

    def __init__(self, folder: Path, env: dict[str, str], script: str = "zygote.py") -> None:
        self.folder, self.turn = folder, threading.RLock()
        command = [sys.executable, "-P", str(Path(__file__).parent / script)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parent, text=True,
            env=env | {"PYTHONPATH": str(Path(__file__).parent), "DOCKER_CONFIG": str(folder / "docker")},
        )  # fmt: skip

    def ask(self, **request: Any) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self.turn:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        return Said(answer["code"], answer["err"], answer["value"])

    def call(self, *words: Any, boot: str = "") -> Any:
        """A function of `invariants`, by name."""
        said = self.ask(call=["invariants", *map(_plain, words)], boot=boot)
        assert said.code == 0, said.err
        return said.value

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("null\n")  # a fork of ours may still hold the pipe, which then does not end
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def _plain(word: Any) -> Any:
    return str(word) if isinstance(word, Path) else word


class Forked:
    """What `nacre(…)` calls in rooms of many commands: a command then takes half of the CPU or less.

    A command that a test puts behind another program, or calls beside another, is a process of its own all
    the same, as is what a test starts.
    """

    def __init__(self, zygote: Zygote, nacre: Any, folder: Path) -> None:
        self._zygote, self._folder, self._process = zygote, folder, nacre.done
        self._usual = nacre.command()[:-2]

    def __call__(
        self, command: list[str], data: bytes, timeout: float, env: dict[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        if command[: len(self._usual)] != self._usual or not self._zygote.turn.acquire(blocking=False):
            return self._process(command, data, timeout, env)  # type: ignore[no-any-return]
        try:
            return self._forked(command, data, env)
        finally:
            self._zygote.turn.release()

    def _forked(
        self, command: list[str], data: bytes, env: dict[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        given, out = self._zygote.folder / "given", self._zygote.folder / "out"
        for path in given, out:  # what a command left running may still have the last ones
            path.unlink(missing_ok=True)
        given.write_bytes(data)
        said = self._zygote.ask(
            words=[*map(os.fspath, command[len(self._usual) :])], cwd=str(self._folder), environment=env,
            **{"in": str(given), "out": str(out)},
        )  # fmt: skip
        return subprocess.CompletedProcess(command, said.code, out.read_bytes(), said.err.encode())


class Box:
    """One store, and commands on it."""

    def __init__(self, zygote: Zygote, root: Path, driver: str, boot: str = "") -> None:
        self.zygote, self.root, self.driver, self.boot = zygote, root, driver, boot

    def command(self, *words: str, **request: Any) -> Said:
        """Run one; keywords as in `zygote.py`."""
        return self.zygote.ask(**self.request(*words, **request))

    def request(self, *words: str, **request: Any) -> dict[str, Any]:
        """The same, not sent."""
        line = ["--root", str(self.root), "--storage-driver", self.driver, *words]
        return {"words": line, "cwd": str(self.zygote.folder), "boot": self.boot, **request}

    def do(self, *words: str, **request: Any) -> Said:
        """Run one that must work."""
        said = self.command(*words, **request)
        assert said.code == 0, (words, said)
        return said

    def copy(self, name: str) -> Box:
        target = self.root.with_name(name)
        self.zygote.call("copy", self.root, target)
        return Box(self.zygote, target, self.driver, self.boot)

    def remove(self) -> None:
        self.zygote.call("remove", self.root)

    def is_sound(self, names: Sequence[str] = KEPT, others: bool = True) -> None:
        """Whatever is named is whole (with `others` not only these names), and these names are there."""
        complaints = self.zygote.call("complaints", self.root, list(names), others, boot=self.boot)
        assert complaints == [], complaints

    def is_tidy(self, containers: int) -> None:
        """After a prune nothing lies about."""
        self.do("ps", "-aq")
        self.do("image", "prune", "-f")
        left = self.zygote.call("leftovers", self.root, containers, boot=self.boot)
        assert left == [], left
        if has_check():
            self.do("system", "check")


def has_check() -> bool:
    """Whether there is a `nacre system check`."""
    from nacre.cli.main import lookup
    from nacre.words.errors import NacreError

    try:
        return lookup(["system", "check"])[0] == "system check"
    except NacreError:
        return False


def points() -> set[str]:
    """The names of all trace points, from the source."""
    return {name for path in SOURCE.rglob("*.py") for name in _points(path.read_text())}


def _points(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)) if "trace(" in text else ():
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "trace":
            argument = node.args[0]
            assert isinstance(argument, ast.Constant), "the name of a trace point is a constant"
            yield str(argument.value)


def drivers(zygote: Zygote, folder: Path) -> list[str]:
    """Those that work here, of all that there are, first what `auto` tries first."""
    from nacre.cli.context import DRIVERS

    names = sorted(set(DRIVERS) - {"auto"}, key=("erofs", "overlay", "plain").index)
    return [name for name in names if _works(zygote, folder / f"try-{name}", name)]


def _works(zygote: Zygote, root: Path, name: str) -> bool:
    out = root.with_suffix(".json")
    said = Box(zygote, root, name).command("info", "--format", "json", out=str(out))
    assert said.code == 0, said
    return "asked for, but" not in out.read_text()


def environment(folder: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NACRE_", "XDG_"))}
    return env | {"HOME": str(folder), "PYTHONWARNINGS": "error"}
