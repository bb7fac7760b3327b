"""Commands in forks of one process that has imported everything: a tenth of the time of new processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bench import Zygote


class Done(NamedTuple):
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Quick:
    """As the fixture `nacre`, and on its store, for what stands between commands that are put to the test."""

    def __init__(self, zygote: Zygote, nacre: Any, folder: Path) -> None:
        self._zygote, self._nacre, self._folder = zygote, nacre, folder

    def __call__(self, *words: str, input: bytes = b"", check: bool = True) -> Done:
        given, out = self._folder / "given", self._folder / "out"
        given.write_bytes(input)
        said = self._zygote.ask(
            words=["--root", str(self._nacre.root), *words], cwd=str(self._nacre.folder),
            env=self._nacre.env, **{"in": str(given), "out": str(out)},
        )  # fmt: skip
        done = Done(words, said.code, out.read_text(errors="replace"), said.err)
        assert not (check and done.code), done
        return done
