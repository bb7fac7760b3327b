"""Every command with few descriptors: it works or says why not in a sentence, and the store is as before."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path += [str(Path(__file__).parents[1] / room) for room in ("client", "threats")]

from bench import ALL
from evil import Image, Layer
from fakeregistry import FakeRegistry

from nacre.ground import userns

LIMITS = range(8, 129) if ALL else (8, 13, 18, 26, 40, 64)
COMMANDS = """
version
info
images
ps -a
history busybox:test
inspect busybox:test
system df
build -q --no-cache context
run --rm busybox:test true
run -d --rm busybox:test true
create --name made busybox:test true
start -a kept
start kept
rm -f made
exec up true
exec -d up true
commit kept committed:1
commit up committed:2
rmi committed:1
cp context/f up:/f
cp context/f kept:/f
cp kept:/bin/busybox -
export -o exported.tar kept
diff kept
logs kept
save -o again.tar busybox:test
load -q -i saved.tar
import exported.tar imported:1
tag busybox:test tagged:1
rmi tagged:1
volume create v
run --rm -v v:/v busybox:test true
volume rm v
pull -q PULLED
push -q PUSHED
rmi PULLED
copy -q nacre:busybox:test oci:layout:1
explore busybox:test
image prune -f
builder prune -af
system prune -f
"""
FEW = ("build", "run", "exec", "start", "commit", "pull", "load", "cp", "system")
"""Commands that fork, tried at every limit; the others at every third."""
FORKING = """
run --rm IMAGE true
run -d IMAGE true
exec up true
exec -d up true
commit up
build context
"""


@pytest.fixture
def ready(nacre: Any, busybox_image: str, busybox_tar: bytes) -> Iterator[dict[str, str]]:
    """Names that stand for others in COMMANDS. The store has an image, a container, and one that runs."""
    fake = FakeRegistry()
    (nacre.folder / "context").mkdir()
    (nacre.folder / "context" / "f").write_text("f")
    (nacre.folder / "context" / "Dockerfile").write_text("FROM busybox:test\nRUN echo >/x\nCOPY f /f\n")
    names = {
        "PULLED": Image(busybox_tar, Layer().file("f", b"f").bytes()).publish(fake, "pulled"),
        "PUSHED": f"{fake.host}/out:1",
    }
    nacre("tag", busybox_image, names["PUSHED"])
    nacre("save", "-o", "saved.tar", busybox_image)
    nacre(
        "export", "-o", "exported.tar", nacre("create", "--name", "kept", busybox_image, "true").out.strip()
    )
    nacre("run", "-d", "--name", "up", busybox_image, "sleep", "1000")
    yield names
    nacre("rm", "-f", "up")
    fake.close()


def limited(nacre: Any, limit: int, words: list[str]) -> str:
    """What is wrong about how the command ended, if anything."""
    script = f'ulimit -n {limit}; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *nacre.command(*words)], capture_output=True, env=nacre.env, check=False,
        stdin=subprocess.DEVNULL, cwd=nacre.folder, timeout=180,
    )  # fmt: skip
    said = done.stderr.decode(errors="replace")
    more = ("hint: ", "WARNING: ", " 2 | ", "   ", "------", " > ", "Dockerfile:")
    errors = [line for line in said.splitlines() if not line.startswith(more)]
    bad = ("Traceback", "internal error", "[Errno", "killed", "without an answer", "not a database")
    fine = done.returncode == 0 or (len(errors) == 1 and errors[0].startswith("nacre: "))
    return (
        ""
        if fine and not any(word in said for word in bad)
        else f"{limit}: {words}: {done.returncode}: {said}"
    )


def test_few_descriptors_lose_nothing(nacre: Any, ready: dict[str, str]) -> None:
    images, wrong = nacre("images", "-q", "busybox").out, []
    for number, limit in enumerate(LIMITS):
        for nth, line in enumerate(COMMANDS.split("\n")[1:-1]):
            if ALL or line.startswith(FEW) or (nth + number) % 3 == 0:
                wrong.append(limited(nacre, limit, [ready.get(word, word) for word in line.split()]))
        assert nacre("images", "-q", "busybox").out == images
        assert nacre("exec", "up", "echo", "alive").out == "alive\n"
    assert [text for text in wrong if text] == []
    nacre("system", "check")
    nacre("system", "prune", "-f")
    assert not list((nacre.root / "ingest").glob("*"))


def test_no_more_processes(nacre: Any, busybox_image: str) -> None:
    """Where nothing can be forked every command says so."""
    if userns.mapped():
        pytest.skip("needs an ordinary user: root has no such limit")
    (nacre.folder / "context").mkdir()
    (nacre.folder / "context" / "Dockerfile").write_text(f"FROM {busybox_image}\nRUN true\n")
    # In another network a process that is there already would fork for `exec`.
    nacre("run", "-d", "--name", "up", "--network", "host", busybox_image, "sleep", "1000")
    try:
        for line in FORKING.split("\n")[1:-1]:
            words = line.replace("IMAGE", busybox_image).split()
            done = subprocess.run(
                nacre.command(*words), capture_output=True, env=nacre.env, check=False, cwd=nacre.folder,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)),
            )  # fmt: skip
            said = done.stderr.decode()
            assert done.returncode in (1, 125), (line, said)
            assert said.startswith("nacre: cannot ")
            assert said.endswith(": Resource temporarily unavailable\n")
            assert said.count("\n") == 1
        nacre("system", "check")
    finally:
        nacre("rm", "-f", "up")
