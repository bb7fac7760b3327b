"""When the files of a context were committed: the git repository that the context lies in.

The program git reads objects and index, but no configuration and no hooks: it is given a repository of ours
whose objects are those of the context, so that a context cannot make it run anything. Without git, without a
repository, or with one of an unusual form (a linked work tree, reftable), nothing is known.
"""

from __future__ import annotations

import os

from ...grammars.dockerfile.namedcontext import redacted
from ...ground.files import private_dir, read_bounded
from ...words.light import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX = 1 << 20
_HEX = frozenset("0123456789abcdef")
_FORMATS = {40: "", 64: "\n[extensions]\nobjectformat = sha256"}
_QUIET = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


class Checkout:
    """A work tree: `top` its folder, `head` the commit that is checked out."""

    def __init__(self, top: str, head: str, scratch: str) -> None:
        self._top, self._head, self._scratch = top, head, scratch

    @classmethod
    def find(cls, context: str, scratch: str) -> Checkout | None:
        """That of a context, None where nothing is known. `scratch` has room for a small folder."""
        top = os.path.realpath(context)
        while not os.path.lexists(f"{top}/.git"):
            if top == "/":
                return None
            top = os.path.dirname(top)
        head = _head(f"{top}/.git") if os.path.isdir(f"{top}/.git") else ""
        return cls(top, head, scratch) if len(head) in _FORMATS and set(head) <= _HEX else None

    def described(self) -> list[tuple[str, str]]:
        """The URL of `origin`, if it has one, without a login, and the commit: as `source` and `revision`."""
        url = redacted(_origin(_text(f"{self._top}/.git/config")))
        return ([("source", url)] if url else []) + [("revision", self._head)]

    def time(self, paths: Sequence[str] = (), excluded: Sequence[str] = ()) -> int | None:
        """When the last commit was made that changed any of `paths`, in seconds; they are absolute."""
        words = [
            f":(top,literal){at}" if (at := os.path.relpath(path, self._top)) != "." else ":/"
            for path in paths
        ]
        words += [f":(top,exclude,glob){os.path.relpath(path, self._top)}" for path in excluded]
        said = self._git("log", "-1", "--format=%ct", self._head, "--", *words).strip()
        return int(said) if said.isdecimal() else None

    def committed(self, folder: str) -> frozenset[bytes]:
        """The files of a folder that are as in the commit; relative to it."""
        at = os.path.relpath(folder, self._top)
        words = ("--", f":(top,literal){at}") if at != "." else ()
        known = set(
            self._git("ls-tree", "-r", "-z", "--name-only", "--full-tree", self._head)
            .encode(*_RAW)
            .split(b"\0")
        )
        changed = self._git(
            "status", "--porcelain", "-z", "-uno", "--no-renames", "--ignore-submodules=all", *words
        )
        known -= {line[3:] for line in changed.encode(*_RAW).split(b"\0")}
        base = b"" if at == "." else os.fsencode(at) + b"/"
        return frozenset(path[len(base) :] for path in known if path and path.startswith(base))

    def _git(self, *words: str) -> str:
        """What it prints; "" if it fails, or is not there."""
        from subprocess import DEVNULL, run

        with suppress(OSError):
            self._prepare()
            done = run(
                ["git", *_QUIET, *words], cwd=self._top, env=self._environment(), stdin=DEVNULL,
                capture_output=True, check=False,
            )  # fmt: skip
            return "" if done.returncode else done.stdout.decode(*_RAW)
        return ""

    @property
    def _folder(self) -> str:
        """That of this process: another one may be making its own."""
        return f"{self._scratch}/checkout-{os.getpid()}"

    def _prepare(self) -> None:
        """Our own repository, over the objects of the context."""
        if os.path.isdir(self._folder):
            return
        for path in (self._folder, f"{self._folder}/refs", f"{self._folder}/objects"):
            private_dir(path)
        config = (
            f"[core]\nrepositoryformatversion = {int(len(self._head) == 64)}{_FORMATS[len(self._head)]}\n"
        )
        files = {"HEAD": f"{self._head}\n", "config": config, "shallow": _text(f"{self._top}/.git/shallow")}
        for name, text in files.items():
            if text:
                with open(f"{self._folder}/{name}", "x") as file:
                    file.write(text)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return kept | {
            "GIT_DIR": self._folder, "GIT_WORK_TREE": self._top, "GIT_INDEX_FILE": f"{self._top}/.git/index",
            "GIT_OBJECT_DIRECTORY": f"{self._top}/.git/objects", "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C",
        }  # fmt: skip


_RAW = ("utf-8", "surrogateescape")


def _head(folder: str) -> str:
    """The name of the commit that HEAD means, "" where it cannot be told."""
    said = _text(f"{folder}/HEAD").strip()
    if not said.startswith("ref: refs/"):
        return said
    name = said[5:]
    if ".." in name:
        return ""
    loose = _text(f"{folder}/{name}").strip()
    packed = _text(f"{folder}/packed-refs").split("\n") if not loose else []
    return loose or next((line[: -len(name) - 1] for line in packed if line.endswith(f" {name}")), "")


def _origin(config: str) -> str:
    """The URL of the remote `origin` in a configuration of git, "" if it has none."""
    section = ""
    for line in config.split("\n"):
        name, _, value = line.strip().partition("=")
        if name.startswith("["):
            section = name
        elif section == '[remote "origin"]' and name.strip() == "url":
            return value.strip()
    return ""


def _text(path: str) -> str:
    """A small file, "" for anything else. Nothing is followed or waited for."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return read_bounded(lambda count: os.read(fd, count), _MAX, path).decode(*_RAW)
        finally:
            os.close(fd)
    return ""
