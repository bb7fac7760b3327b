"""Where no mount is permitted: an ordinary pod, a hardened host. Real filters, real capabilities."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from waiting import until

from nacre.ground import userns

if TYPE_CHECKING:
    from conftest import Nacre, Result

HELPER = Path(__file__).with_name("confined.py")
IS_ROOT = os.geteuid() == 0

DOCKERFILE = """
FROM {base}
RUN echo hello > /greeting && mkdir -p /srv/x/z && ln -s y /srv/x/l
RUN echo y > /srv/x/y && ln /srv/x/y /srv/x/h
COPY data /srv/
RUN --mount=type=cache,target=/cache --mount=type=bind,source=data,target=/here <<END
  cat /here/file /srv/file >> /cache/n
  cp /cache/n /counted
  cat /etc/resolv.conf > /dev/null
  rm -rf /srv/x/z && mkdir /srv/x/z && echo new > /srv/x/z/new
  rm /srv/x/l
END
RUN touch /etc/passwd && chmod 711 /srv && mv /greeting /moved && touch /tmp/q && rm /tmp/q
ENV GREETING=hi
USER {user}
CMD ["sh", "-c", "cat /moved; echo $GREETING"]
"""


class Confined:
    """`nacre` in a process that may do less."""

    def __init__(self, nacre: Nacre, *options: str) -> None:
        self.options, self.root, self.folder = options, nacre.root, nacre.folder
        self.call: Any = type(nacre).__call__
        self.begin: Any = type(nacre).start
        self.env, self.done, self._command = nacre.env, nacre.done, nacre.command

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", str(HELPER), *self.options, *self._command(*words)]

    def __call__(self, *words: str, **options: Any) -> Result:
        done: Result = self.call(self, *words, **options)
        return done


# Root in a pod has docker's capabilities; a user can change his root in a user namespace alone.
RUNS = () if IS_ROOT else ("--mount-only",)
NOTHING = ("--no-chroot",) if IS_ROOT else ()


@pytest.fixture
def pod(nacre: Nacre) -> Iterator[Confined]:
    """Where programs can be run."""
    if not IS_ROOT:
        try:
            userns.call(userns.enter)
        except Exception as error:
            pytest.skip(f"no user namespace here: {error}")
    yield Confined(nacre, *RUNS)
    assert leftovers(nacre.root) == []


@pytest.fixture
def nothing(nacre: Nacre) -> Iterator[Confined]:
    """Where none can."""
    yield Confined(nacre, *NOTHING)
    assert leftovers(nacre.root) == []


def leftovers(root: Path) -> list[str]:
    places = ("active", "containers", "ingest", "build")
    return [
        str(path)
        for name in places
        for path in (root / name).glob("*")
        if path.name not in ("cache", "contexts", "records")
    ]


def running(mark: str) -> list[int]:
    """Processes with an argument `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def load(pod: Nacre | Confined, tar: bytes, name: str = "busybox:test") -> str:
    pod("import", "--change", "ENV PATH=/bin", "--change", 'CMD ["sh"]', "-", name, input=tar)
    return name


def write_context(folder: Path, base: str, user: str = "root") -> Path:
    context = folder / "context"
    (context / "data").mkdir(parents=True)
    (context / "data/file").write_text("one\n")
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=base, user=user))
    return context


def diff_ids(nacre: Nacre | Confined, name: str) -> list[str]:
    found: list[str] = json.loads(nacre("inspect", name).out)[0]["RootFS"]["Layers"]
    return found


def test_plain_is_chosen_and_says_why(pod: Confined) -> None:
    info = json.loads(pod("info", "--format", "json").out)
    assert info["Driver"] == "plain"
    assert "programs run in a chroot; " in info["DriverReason"]
    assert "overlayfs cannot be mounted" in info["DriverReason"]


def test_root_keeps_its_ids_where_a_namespace_gives_it_no_mounts(pod: Confined, busybox_tar: bytes) -> None:
    if not IS_ROOT:
        pytest.skip("root's case")
    pod.options = ("--mount-only",)
    done = pod("run", "--rm", "-u", "user", load(pod, busybox_tar), "sh", "-c", "id -u; id -G")
    assert done.lines == ["1000", "1000 2000"]


def test_pull_build_run_commit_push(
    pod: Confined, nacre: Nacre, busybox_tar: bytes, pod_registry: str, tmp_path: Path
) -> None:
    base, made = f"{pod_registry}/base:1", f"{pod_registry}/app:1"
    load(pod, busybox_tar, base)
    pod("push", base)
    pod("rmi", base)
    pod("system", "prune", "-af")
    pod("pull", base)
    built = pod("build", "-t", "app:1", str(write_context(tmp_path, base)))
    assert built.err.count("WARNING: mounts are not permitted") == 1
    ran = pod("run", "--name", "box", "app:1")
    assert (ran.out, ran.err.count("WARNING")) == ("hello\nhi\n", 1)
    pod("rm", "box")
    pod("run", "--name", "box", "app:1", "sh", "-c", "echo more > /more; rm /counted")
    assert pod("diff", "box").lines == ["D /counted", "A /more"]
    pod("commit", "box", made)
    pod("rm", "box")
    pod("push", made)
    pod("rmi", made, "app:1", base)
    pod("system", "prune", "-af")
    assert pod("run", "--rm", made, "cat", "/more", "/moved").out == "more\nhello\n"
    assert pod("run", "--rm", made, "cat", "/counted", check=False).code == 1
    pod("system", "prune", "-af")


@pytest.fixture
def pod_registry(nacre: Nacre, tmp_path: Path) -> Iterator[str]:
    """A registry of ours: conftest's runs each test on docker's as well."""
    words = ("--quiet", "--addr", "127.0.0.1:0", "--root", str(tmp_path / "registry"))
    process = nacre.start("registry", "serve", *words, stderr=None)
    try:
        said = process.stdout.readline().decode() if process.stdout else ""
        yield said.split("http://")[1].split("/")[0]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_the_layers_are_those_that_overlayfs_makes(
    pod: Confined, nacre: Nacre, busybox_tar: bytes, tmp_path: Path
) -> None:
    context = str(write_context(tmp_path, "busybox:test"))
    load(pod, busybox_tar)
    pod("build", "-q", "-t", "app:1", context, SOURCE_DATE_EPOCH="1700000000")
    ours = diff_ids(pod, "app:1")
    nacre.root = tmp_path / "other"
    load(nacre, busybox_tar)
    nacre("build", "-q", "-t", "app:1", context, SOURCE_DATE_EPOCH="1700000000")
    theirs = diff_ids(nacre, "app:1")
    nacre("system", "prune", "-af")
    assert ours[:-1] == theirs[:-1]


def test_a_file_that_was_only_touched_is_in_no_layer(
    pod: Confined, busybox_tar: bytes, tmp_path: Path
) -> None:
    load(pod, busybox_tar)
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox:test\nRUN cat /etc/passwd > /p && cat /p > /etc/passwd && rm /p\n"
    )
    pod("build", "-q", "-t", "app:1", str(tmp_path))
    pod(
        "run",
        "--name",
        "box",
        "app:1",
        "sh",
        "-c",
        "touch /etc/passwd; chmod 600 /etc/passwd; chmod 644 /etc/passwd",
    )
    assert pod("diff", "box").lines == []
    pod("rm", "box")


def test_exit_codes_and_who_where_with_what(pod: Confined, busybox_tar: bytes) -> None:
    image = load(pod, busybox_tar)
    script = "id -u; id -G; pwd; echo $A; exit 3"
    done = pod("run", "--rm", "-e", "A=b", "-w", "/srv/new", image, "sh", "-c", script, check=False)
    assert (done.code, done.lines) == (3, ["0", "0", "/srv/new", "b"])
    assert pod("run", "--rm", image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?", check=False).code == 137
    assert pod("run", "--rm", image, "nosuch", check=False).code == 127
    assert pod("run", "--rm", image, "/etc/passwd", check=False).code == 126
    if IS_ROOT:
        done = pod("run", "--rm", "-u", "user", image, "sh", "-c", "id -u; id -G")
        assert done.lines == ["1000", "1000 2000"]


def test_what_cannot_be_kept_is_refused(pod: Confined, busybox_tar: bytes, tmp_path: Path) -> None:
    image = load(pod, busybox_tar)
    for wish in (("-v", f"{tmp_path}/new:/x", "-v", "vol:/y"), ("--read-only", "-v", "/z")):
        done = pod("run", *wish, image, "true", check=False)
        assert done.code == 125
        assert "permitted here" in done.err
        assert not (tmp_path / "new").exists()
        assert pod("volume", "ls", "-q").out == pod("ps", "-aq").out == ""


def test_confinement_that_is_left(pod: Confined, busybox_tar: bytes) -> None:
    image = load(pod, busybox_tar)
    for attempt in ("mknod /x c 1 3", "mount -t tmpfs none /tmp", "chroot / true", "ls /proc/1"):
        done = pod("run", "--rm", image, "busybox", "sh", "-c", f"busybox {attempt}", check=False)
        assert done.code, attempt


def test_nothing_of_the_host_is_in_the_image(pod: Confined, busybox_tar: bytes, tmp_path: Path) -> None:
    load(pod, busybox_tar)
    dockerfile = (
        "FROM busybox:test\nRUN echo own > /etc/hosts.own && mv /etc/hosts.own /etc/marks && ls /dev/null\n"
    )
    (tmp_path / "Dockerfile").write_text(dockerfile)
    pod("build", "-q", "-t", "app:1", str(tmp_path))
    pod("create", "--name", "box", "app:1")
    with tarfile.open(fileobj=io.BytesIO(pod("export", "box").raw)) as tar:
        names = set(tar.getnames())
    assert "etc/marks" in names
    assert names.isdisjoint(("etc/resolv.conf", "etc/hosts", "dev"))
    pod("rm", "box")


def test_life_of_a_container(pod: Confined, busybox_tar: bytes, tmp_path: Path) -> None:
    image = load(pod, busybox_tar)
    script = "trap 'echo ended; exit 7' TERM; echo x > /made; echo up; while :; do sleep 0.1; done"
    pod("run", "-d", "--name", "box", image, "sh", "-c", script)
    until(lambda: "up" in pod("logs", "box").out)
    assert pod("exec", "box", "cat", "/made").out == "x\n"
    assert pod("exec", "box", "sh", "-c", "exit 5", check=False).code == 5
    (tmp_path / "file").write_text("copied\n")
    pod("cp", str(tmp_path / "file"), "box:/srv/")
    assert pod("exec", "box", "cat", "/srv/file").out == "copied\n"
    pod("cp", "box:/made", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "x\n"
    assert pod("diff", "box").lines == ["A /made", "C /srv", "A /srv/file"]
    assert (Path(pod("mount", "box").out.strip()) / "made").exists()
    pod("stop", "box")
    assert json.loads(pod("inspect", "box").out)[0]["State"]["ExitCode"] == 7
    assert pod("logs", "box").lines[-1] == "ended"
    pod("start", "box")
    pod("kill", "box")
    pod("rm", "box")


def test_nothing_that_was_started_lives_on(pod: Confined, busybox_tar: bytes) -> None:
    image, mark = load(pod, busybox_tar), f"{os.getpid()}1234"
    script = f"(sleep {mark} &); (trap '' TERM HUP; sleep {mark}) & sleep 0.2; exit 4"
    done = pod("run", "--rm", image, "sh", "-c", script, check=False)
    assert done.code == 4
    assert running(mark) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nor_when_nacre_is_killed(pod: Confined, busybox_tar: bytes, number: int) -> None:
    image, mark = load(pod, busybox_tar), f"{os.getpid()}5678"
    script = f"trap 'exit 3' TERM; sleep {mark} & (sleep {mark} &); wait"
    process = pod.begin(pod, "run", "--rm", image, "sh", "-c", script)
    until(lambda: len(running(mark)) == 2)
    process.send_signal(number)
    process.communicate(timeout=30)
    until(lambda: running(mark) == [])
    pod("ps", "-a")
    pod("system", "prune", "-f")


def test_what_works_with_nothing(
    nothing: Confined, busybox_tar: bytes, tmp_path: Path, pod_registry: str
) -> None:
    image = load(nothing, busybox_tar, f"{pod_registry}/base:1")
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image}\nCOPY --chown=7:8 --chmod=0000 Dockerfile /x/\nWORKDIR /srv/new\nENV A=b\n"
    )
    nothing("build", "-t", f"{pod_registry}/app:1", str(tmp_path))
    nothing("push", f"{pod_registry}/app:1")
    nothing("save", "-o", "app.tar", f"{pod_registry}/app:1")
    nothing("rmi", f"{pod_registry}/app:1", image)
    nothing("system", "prune", "-af")
    nothing("load", "-i", "app.tar")
    nothing("create", "--name", "box", f"{pod_registry}/app:1", "true")
    (tmp_path / "file").write_text("copied\n")
    nothing("cp", str(tmp_path / "file"), "box:/srv/")
    nothing("cp", "box:/srv/file", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "copied\n"
    assert nothing("diff", "box").lines == ["C /srv", "A /srv/file"]
    nothing("commit", "box", "snap:1")
    nothing("rm", "box")
    layers = diff_ids(nothing, "snap:1")
    assert layers[:-1] == diff_ids(nothing, f"{pod_registry}/app:1")
    assert "copied" not in nothing("history", "snap:1").out
    nothing("explore", "snap:1", "--format", "json")


def test_one_sentence_where_nothing_can_be_run(nothing: Confined, busybox_tar: bytes, tmp_path: Path) -> None:
    image = load(nothing, busybox_tar)
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nRUN true\n")
    for words, code in ((("run", "--rm", image, "true"), 125), (("build", str(tmp_path)), 1)):
        done = nothing(*words, check=False)
        assert done.code == code
        assert "neither mounts nor chroot, so no program of an image can run" in done.err
        assert "\nhint: nacre needs a user namespace" in done.err
        assert "Traceback" not in done.err


def test_a_commit_never_stops_the_processes_of_the_host() -> None:
    from nacre.ground.monitor.pause import members

    assert members(os.getpid()) == []
