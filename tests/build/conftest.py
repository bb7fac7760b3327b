"""What the tests of this room share: a context folder and the command line at work on it."""

from __future__ import annotations

import http.server
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nacre.ground import userns
from nacre.ground.files import remove_tree

sys.path.append(str(Path(__file__).parents[1] / "crash"))

from forked import forked_nacre, untuned_zygote  # noqa: F401 - they are fixtures


class Project:
    """A context folder and the images built from it."""

    def __init__(self, nacre: Any, folder: Path) -> None:
        self.nacre, self.folder = nacre, folder
        folder.mkdir()

    def write(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def build(self, dockerfile: str = "", *words: str, tag: str = "app", **options: Any) -> Any:
        """Build `dockerfile`; the result of the command."""
        if dockerfile:
            self.write("Dockerfile", dockerfile)
        return self.nacre("build", "-t", tag, *words, str(self.folder), **options)

    def fails(self, dockerfile: str, *words: str, **options: Any) -> Any:
        """Build what cannot be built; the result."""
        result = self.build(dockerfile, *words, check=False, **options)
        assert result.code == 1, result
        return result

    def interrupted(self, dockerfile: str, *said: bytes, ready: Callable[[], object] = lambda: True) -> None:
        """Interrupt a build once it has `said` all of this and is `ready`: it ends and leaves nothing."""
        self.write("Dockerfile", dockerfile)
        process = self.nacre.start("build", "-t", "app", str(self.folder), start_new_session=True)
        seen = b""
        deadline = time.monotonic() + 60
        while not all(words in seen for words in said) and time.monotonic() < deadline:
            seen += process.stderr.readline()
        assert ready()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130, seen + rest
        assert b"Traceback" not in rest
        assert self.leftovers() == []

    def sh(self, script: str, *words: str, tag: str = "app") -> str:
        """What a shell in the image prints."""
        out: str = self.nacre("run", "--rm", "--entrypoint", "/bin/sh", *words, tag, "-c", script).out
        return out

    def config(self, tag: str = "app") -> dict[str, Any]:
        """The run configuration of an image."""
        config: dict[str, Any] = self.nacre("inspect", tag).json[0]["Config"]
        return config

    def id(self, tag: str = "app") -> str:
        found: str = self.nacre("inspect", "--format", "{{.Id}}", tag).out.strip()
        return found

    def leftovers(self) -> list[str]:
        """What a build that failed must not leave in the store."""
        root: Path = self.nacre.root
        found = [*root.glob("active/*"), *root.glob("containers/*"), *root.glob("ingest/*")]
        return sorted(str(path) for path in found)


@pytest.fixture
def project(nacre: Any, busybox_image: str, tmp_path: Path) -> Project:
    """A context folder, and a store that has the image busybox:test."""
    return Project(nacre, tmp_path / "context")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of what is in tmp_path/site."""
    (tmp_path / "site").mkdir()

    def handler(*words: Any) -> _Quiet:
        return _Quiet(*words, directory=str(tmp_path / "site"))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def needs_ids() -> None:
    """Skip where a file can belong to nobody but ourselves."""
    mapping = userns.current() if userns.mapped() else userns.call(userns.enter)
    if mapping.single:
        pytest.skip("owners need a range of subordinate ids")


@pytest.fixture
def another(nacre: Any, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """`another("name")` is the command line with one more empty store."""
    made = []

    def make(name: str) -> Any:
        made.append(type(nacre)(tmp_path / name, tmp_path))
        made[-1].done = nacre.done
        return made[-1]

    yield make
    for other in made:
        if userns.mapped():
            remove_tree(str(other.root))
        else:
            userns.call(remove_tree, str(other.root))
