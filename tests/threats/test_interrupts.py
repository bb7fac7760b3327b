# ruff: noqa: E501 - tables of attacks are read by the line
"""ctrl-C and kill -9 at many moments: no traceback, nothing half-made, and the next command just works."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from evil import OCI, Image, Layer, digest_of, leftovers
from fakeregistry import Exchange, FakeRegistry
from quick import Quick

STOPPER = Path(__file__).with_name("stopper.py")
MOMENTS = (
    "blob:written", "blob:renamed", "blob:published", "blob:renamed#2", "blob:published#3", "ingest:complete",
    "tree:extracted", "tree:renamed", "tree:published", "tree:packed", "tree:adopted", "write_atomic:written",
)  # fmt: skip
SLICES = 10
TURN = slice(min(os.geteuid(), 1), None, 2)
"""Root takes every other moment, and ordinary users those between: the suite runs as both."""
SIGNALS = [signal.SIGINT, signal.SIGKILL]


class Work:
    """One command, stopped somewhere and then run again.

    What is stopped is a process of its own, from its first import on; the commands after it are `quick`.
    """

    def __init__(self, nacre: Any, quick: Quick, words: Sequence[str], input: bytes, name: str) -> None:
        self.nacre, self.quick = nacre, quick
        self.words, self.input, self.name = list(words), input, name

    def stopped(self, number: int, moment: str) -> subprocess.CompletedProcess[bytes]:
        command = self.nacre.command(*self.words)
        line = [
            sys.executable,
            "-P",
            str(STOPPER),
            str(int(number)),
            moment,
            *command[command.index("--root") :],
        ]
        # An interrupt while scandir() or open() runs is raised before `with` has what it returns.
        kept = "ignore:unclosed scandir iterator:ResourceWarning,ignore:unclosed file:ResourceWarning"
        env = {**self.nacre.env, "PYTHONWARNINGS": f"error,{kept}"}
        return subprocess.run(
            line, input=self.input, capture_output=True, timeout=120, env=env,
            cwd=self.nacre.folder, check=False, start_new_session=True,
        )  # fmt: skip

    def calls(self) -> int:
        """How many functions the whole command calls; done in a second store, to know where to stop it."""
        done = self.stopped(0, "count")
        assert done.returncode == 0, done.stderr
        self.undo()
        return int(done.stderr.split(b"calls: ")[1].split()[0])

    def undo(self) -> None:
        if self.name:
            self.quick("rmi", "-f", self.name, check=False)
        self.quick("system", "prune", "-f")
        self.quick("builder", "prune", "-a", "-f", check=False)

    def check(self, number: int, moment: str) -> None:
        """Stop it there, look at what is left, and do it again."""
        done = self.stopped(number, moment)
        told = (moment, done.returncode, done.stdout, done.stderr)
        assert b"Traceback" not in done.stderr, told
        assert b"internal error" not in done.stderr, told
        assert b"Exception ignored" not in done.stderr, told
        if number == signal.SIGINT:
            assert done.returncode in (0, 130, -signal.SIGINT), told
            assert b"nacre: " not in done.stderr, told
            # An interrupt may fall between the making of a lease or a scratch file and the block that
            # removes it, or into that removal: nobody holds it, nothing names it, and the sweep takes it.
            left = leftovers(self.nacre.root)
            tidying = b"(stopped while tidying up)" in done.stderr
            assert tidying or all(map(is_unnamed, left)), (left, told)
            if left:
                self.quick("system", "prune", "-f")
                left = leftovers(self.nacre.root)
            assert left == [], told
            if self.name and done.returncode == 130:
                self.settled(told)
        else:
            assert done.returncode in (0, -signal.SIGKILL), told
        self.again(told)

    def settled(self, told: object) -> None:
        """A name that is there after all names something whole."""
        if self.name in self.quick("images", "--format", "{{.Repository}}:{{.Tag}}").lines:
            self.quick("save", "-o", os.devnull, self.name)

    def again(self, told: object) -> None:
        done = self.quick(*self.words, input=self.input, check=False)
        assert done.code == 0, (told, done)
        if self.name:
            assert self.quick("ps", "-aq").out == "", told
        else:  # killed between the making and the start: docker keeps such a container as well
            deadline = time.monotonic() + 30
            while self.quick("ps", "-q").out:  # the kernel ends what dies with its parent a moment later
                assert time.monotonic() < deadline, told
            self.quick("container", "prune", "-f")
        self.quick("system", "prune", "-f")
        assert leftovers(self.nacre.root) == [], told
        if self.name:
            assert self.quick("run", "--rm", self.name, "/bin/busybox", "cat", "/f").out == "f", told
        self.undo()


def is_unnamed(path: str) -> bool:
    return path.startswith(("leases/", "ingest/new-"))


Make = Callable[[str], Work]


@pytest.fixture
def work(nacre: Any, quick: Quick, project: Path, busybox_tar: bytes, fake: FakeRegistry) -> Make:
    """`work("pull")`: the command, with all that it needs at hand."""
    extra = Layer().file("f", b"f").bytes()
    image = Image(busybox_tar, extra)
    (project / "Dockerfile").write_text(
        "FROM busybox:test\nRUN echo x > /x\nCOPY f /f\nRUN --mount=type=cache,target=/c touch /c/y /y\n"
    )
    (project / "f").write_text("f")

    def make(kind: str) -> Work:
        if kind == "pull":
            name = image.publish(fake)
            return Work(nacre, quick, ("pull", name), b"", name)
        if kind == "build":
            return Work(nacre, quick, ("build", "--no-cache", "-t", "built:1", str(project)), b"", "built:1")
        if kind == "import":
            both = Layer().file("bin/busybox", _busybox(busybox_tar), 0o755).file("f", b"f").bytes()
            return Work(nacre, quick, ("import", "-", "imported:1"), gzip.compress(both, 1), "imported:1")
        if kind == "load":
            return Work(nacre, quick, ("load",), image.archive("loaded:1"), "loaded:1")
        return Work(nacre, quick, ("run", "--rm", "busybox:test", "sh", "-c", "echo > /x"), b"", "")

    return make


def _busybox(tar: bytes) -> bytes:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        member = file.extractfile("bin/busybox")
        assert member is not None
        return member.read()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["pull", "build", "import", "load"])
def test_stopped_at_every_trace_point(work: Make, kind: str, number: int) -> None:
    job = work(kind)
    for moment in MOMENTS[TURN]:
        job.check(number, moment)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("kind", ["pull", "build", "import", "load", "run"])
def test_stopped_anywhere(work: Make, kind: str, number: int) -> None:
    """At evenly spread calls of functions of the main thread, beginning with the very first."""
    job = work(kind)
    calls = job.calls()
    for part in range(SLICES)[TURN]:
        job.check(number, str(1 + calls * part // SLICES))


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it wrote; one that does not end says where its threads are."""
    try:
        return process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        raise AssertionError(process.communicate(timeout=60)[1].decode()) from None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_pull_that_is_stopped_goes_on_where_it_was(
    nacre: Any, busybox_image: str, fake: FakeRegistry, number: int
) -> None:
    """In the middle of a layer whose blob is kept: what came stays, and only the rest is fetched."""
    data = os.urandom(4 << 20)
    tar = Layer().file("f", data).bytes()
    layer = gzip.compress(tar, 1)
    image = Image()
    image.manifest["layers"] = [image.blob(layer, f"{OCI}.layer.v1.tar+gzip")]
    raw = image.blobs[image.manifest["config"]["digest"]]
    raw = raw.replace(b'"diff_ids": []', b'"diff_ids": ["%s"]' % digest_of(tar).encode())
    image.manifest["config"] = image.blob(raw, f"{OCI}.config.v1+json")
    reference = image.publish(fake)
    half, gone = threading.Event(), threading.Event()

    def stall(x: Exchange) -> bool:
        x.reply(200, layer[: 3 << 20], content_length=str(len(layer)))
        x.wfile.flush()
        half.set()
        gone.wait(60)
        return bool(x.cut())

    fake.on("GET", digest_of(layer), stall)
    nacre.env["PYTHONFAULTHANDLER"] = "1"
    process = nacre.start("pull", reference)
    assert half.wait(60)
    partial = nacre.root / "ingest" / digest_of(layer).removeprefix("sha256:") / "data"
    until(lambda: partial.exists() and partial.stat().st_size >= 1 << 20)
    process.send_signal(number)
    out, err = ended(process)
    gone.set()
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), (out, err)
    assert b"Traceback" not in err
    assert leftovers(nacre.root) == [] or number == signal.SIGKILL
    assert "evil" not in nacre("images").out
    before = len(fake.requests)
    nacre("pull", reference)
    ranges = [
        h.get("Range", "") for m, path, h in fake.requests[before:] if m == "GET" and digest_of(layer) in path
    ]
    assert len(ranges) == 1
    assert ranges[0].startswith("bytes="), ranges


def until(condition: Callable[[], bool]) -> None:
    """Wait for something real, at most a minute."""
    deadline = threading.Event()
    for _ in range(6000):
        if condition():
            return
        deadline.wait(0.01)
    pytest.fail("waited in vain")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_container_does_not_outlive_its_run(
    nacre: Any, busybox_image: str, number: int, tmp_path: Path
) -> None:
    """Stopped while the program runs; after a kill -9 the next command tidies up."""
    script = "trap 'exit 3' INT; echo $(cat /proc/sys/kernel/random/boot_id); while :; do read -t 1 x < /dev/full; done"
    process = nacre.start("run", "--rm", busybox_image, "sh", "-c", script, start_new_session=True)
    assert process.stdout.readline()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (3 if number == signal.SIGINT else -9), err
    until(lambda: not any(Path(f"/proc/{pid}/root/bin/busybox").exists() for pid in children))
    assert nacre("ps", "-aq").out == ""
    nacre("system", "prune", "-f")
    assert leftovers(nacre.root) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_step_does_not_outlive_its_build(nacre: Any, project: Path, number: int) -> None:
    (project / "Dockerfile").write_text("FROM busybox:test\nRUN echo started; sleep 3600\n")
    process = nacre.start("build", "-t", "app", str(project), start_new_session=True)
    said = b""
    while b" started\n" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -9), said + err
    assert b"Traceback" not in err
    if number == signal.SIGINT:
        assert leftovers(nacre.root) == []
    (project / "Dockerfile").write_text("FROM busybox:test\nRUN echo > /f\n")
    nacre("build", "-t", "app", str(project))
    nacre("system", "prune", "-f")
    assert leftovers(nacre.root) == []


def test_ctrl_c_twice(nacre: Any, busybox_image: str) -> None:
    """Impatience: the second comes while the first is being dealt with."""
    script = "trap '' INT TERM; echo ready; while :; do read -t 1 x < /dev/full; done"
    process = nacre.start(
        "run", "--rm", "--name", "deaf", busybox_image, "sh", "-c", script, start_new_session=True
    )
    assert process.stdout.readline() == b"ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
    nacre("rm", "-f", "deaf")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 137, err
    assert b"Traceback" not in err
    assert leftovers(nacre.root) == []
