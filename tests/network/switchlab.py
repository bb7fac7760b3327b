"""`nacre` as an ordinary user has it, on a machine of its own (`world`)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from waiting import until
from world import World

IMAGE = "busybox:test"
BRIDGE = "--network", "bridge"
_FOLDERS = ("/usr", "/lib", "/lib64", "/bin")
_INSIDE = Path(__file__).with_name("inside.py")


class SwitchLab:
    """With an image that has a shell; Python is that of the real machine, given to containers by `python`."""

    def __init__(self, nacre: Any, world: World) -> None:
        self.nacre, self.world, self.web = nacre, world, nacre.folder / "web"
        own = nacre.command
        nacre.command = lambda *words: world.command(own(*words))
        folders = {*(each for each in _FOLDERS if os.path.isdir(each)), sys.base_prefix}
        self.programs = [word for each in sorted(folders) for word in ("-v", f"{each}:{each}:ro")]
        self.python = [
            *self.programs,
            "-v",
            f"{_INSIDE}:/inside.py:ro",
            "--entrypoint",
            os.path.realpath(sys.executable),
        ]

    def inside(self, name: str, *arguments: object, options: tuple[str, ...] = BRIDGE) -> Any:
        """What a function of `inside.py` finds in a new container."""
        words = [str(each) for each in arguments]
        return self.nacre("run", "--rm", *options, *self.python, IMAGE, "/inside.py", name, *words).json

    def port(self, name: str) -> int:
        return self.world.ports[name]

    def secrets(self) -> tuple[int, list[int]]:
        """What must never change: who came to the loopback of the machine, and what listens there."""
        seen = self.world.seen()
        return seen["secret"], seen["listening"]

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a real condition."""
        until(condition, 60)

    def answers(self, container: str, port: int) -> None:
        """Wait until a program of a container listens."""
        text = f":{port:04X} "
        words = ["cat", "/proc/net/tcp", "/proc/net/tcp6"]
        self.until(lambda: text in self.nacre("exec", container, "/bin/busybox", *words).out)

    def kill_keeper(self, container: str) -> None:
        """SIGKILL to the process that keeps a container."""
        state = Path(f"/proc/{self.nacre('inspect', container).json[0]['State']['Pid']}/stat").read_text()
        os.kill(int(state.rpartition(")")[2].split()[1]), signal.SIGKILL)
