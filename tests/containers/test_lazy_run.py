"""Containers that run before their image is here: what they read, and what happens when somebody dies."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from holdingproxy import HoldingProxy, holding
from machine import needs_root

from nacre.grammars.accessprofile import AccessProfile

FILES = {f"data/f{number:02}": random.Random(number).randbytes(1 << 19) for number in range(24)}
LAST = "/data/f20"


@pytest.fixture
def server(nacre: Any, tmp_path: Path) -> Iterator[HoldingProxy]:
    """A proxy of a registry, which has `app:1` in zstd:chunked: busybox, and 12 MiB of data behind it."""
    words = ("--quiet", "--addr", "127.0.0.1:0", "--root", str(tmp_path / "registry"))
    process = nacre.start("registry", "serve", *words, stderr=None)
    try:
        said = process.stdout.readline().decode() if process.stdout else ""
        with holding(said.split("http://")[1].split("/")[0]) as proxy:
            yield proxy
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


FOR_USERS = "zstd:chunked, for a user"
FOR_ROOT = ["zstd:chunked", "gzip and an index"]


@pytest.fixture(params=[*FOR_ROOT, FOR_USERS])
def image(
    nacre: Any, server: HoldingProxy, busybox_tar: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The name of the image, of which the store of `nacre` has nothing."""
    if request.param == FOR_USERS:
        request.getfixturevalue("single")
    else:
        needs_root()
    out = io.BytesIO(busybox_tar)
    with tarfile.open(fileobj=out, mode="a") as tar:
        for path, data in FILES.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    nacre("import", "--change", "ENV PATH=/bin", "-", "app:1", input=out.getvalue())
    direct = f"{server.registry}/app:1"
    nacre("tag", "app:1", direct)
    nacre.env["NACRE_LAYER_BLOBS"] = "auto"
    lazy = json.loads(nacre("info", "--format", "json").out)["Lazy"]
    if not lazy.startswith("yes"):
        pytest.skip(lazy)
    how = () if "index" not in request.param else ("--lazy-index",)
    nacre("push", "-q", "--compression", request.param.split(" ")[0].strip(","), *how, direct)
    nacre.root = tmp_path / "other"
    yield f"{server.address}/app:1"
    for name in os.listdir(nacre.root / "shared"):  # whose registry is gone: they would go on trying
        if ".fill." in name:
            end(int(name.split(".")[-3]))


def end(holder: int) -> None:
    """End the process that has a filler, and that, unless they have ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        children = Path(f"/proc/{holder}/task/{holder}/children").read_text()
        for pid in (holder, *map(int, children.split())):
            os.kill(pid, signal.SIGKILL)


def run(nacre: Any, image: str, *words: str) -> Any:
    return nacre.start("run", "--rm", "--name", "one", "--pull", "lazy", image, *words)


def processes(nacre: Any) -> tuple[int, int]:
    """The process that sees to it that the layers are filled, and the one that fills them."""
    (holder,) = {int(name.split(".")[-3]) for name in os.listdir(nacre.root / "shared") if ".fill." in name}
    return holder, int(Path(f"/proc/{holder}/task/{holder}/children").read_text())


def finished(nacre: Any) -> bool:
    return not [name for name in os.listdir(nacre.root / "shared") if ".lazy." in name]


def test_what_is_read_is_waited_for(nacre: Any, server: HoldingProxy, image: str) -> None:
    process = run(nacre, image, "cat", LAST)
    server.wait_held()
    assert "% here)" in nacre("ps", "--format", "{{.Status}}").out
    server.gate.set()
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (FILES[LAST[1:]], 0), err


def test_another_container_may_begin_meanwhile(nacre: Any, server: HoldingProxy, image: str) -> None:
    process = run(nacre, image, "cat", LAST)
    server.wait_held()
    assert nacre("run", "--rm", image, "echo", "hello").out == "hello\n"
    server.gate.set()
    assert process.communicate(timeout=60)[0] == FILES[LAST[1:]]


def test_a_filler_that_is_killed_is_replaced(nacre: Any, server: HoldingProxy, image: str) -> None:
    process = run(nacre, image, "cat", LAST)
    held = server.wait_held()
    _, filler = processes(nacre)
    os.kill(filler, signal.SIGKILL)
    server.wait_held(held)
    server.gate.set()
    out, err = process.communicate(timeout=60)
    assert out == FILES[LAST[1:]], err


def is_waiting(pid: str) -> bool:
    """Whether it is the program, and waits for content of its file: what is killed while the kernel loads it
    ends otherwise. Not by ps(1), which may wait for it, too.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        place = Path(f"/proc/{pid}")
        waits = (place / "comm").read_text() == "cat\n" and "fanotify" in (place / "wchan").read_text()
        return waits and LAST in [os.readlink(each) for each in (place / "fd").iterdir()]
    return False


def wait_for_reader(nacre: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_waiting(nacre("inspect", "-f", "{{.State.Pid}}", "one", check=False).out.strip() or "0"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("image", FOR_ROOT, indirect=True)
def test_without_anybody_who_fills_it_is_never_zeros(nacre: Any, server: HoldingProxy, image: str) -> None:
    process = run(nacre, image, "cat", LAST)
    wait_for_reader(nacre)
    for pid in processes(nacre):
        os.kill(pid, signal.SIGKILL)
    server.gate.set()
    assert nacre("ps", "-q").out
    assert process.poll() is None
    nacre("kill", "one")
    out, err = process.communicate(timeout=60)
    assert FILES[LAST[1:]].startswith(out)
    assert process.returncode == 137, err
    assert finished(nacre)
    again = nacre("run", "--rm", "--pull", "always", image, "wc", "-c", LAST)
    assert again.out == f"{1 << 19} {LAST}\n"


def servers(image: str) -> list[int]:
    """The process that has the mount of the image's only container served, and the one that serves."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            devices = [fd for fd in (folder / "fd").iterdir() if os.readlink(fd) == "/dev/fuse"]
            if devices and image.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    served = [pid for pid in found if parent(pid) in found]
    return [parent(served[0]), *served] if served else []


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("image", [FOR_USERS], indirect=True)
@pytest.mark.parametrize("killed", ["server", "server and its holder", "filler and its holder"])
def test_a_user_reads_what_is_right_or_an_error(
    nacre: Any, server: HoldingProxy, image: str, killed: str
) -> None:
    process = run(nacre, image, "cat", LAST)
    server.wait_held()
    deadline = time.monotonic() + 60  # not by what it prints: its sendfile(2) has the pipe to itself
    while not servers(image):
        assert time.monotonic() < deadline
    pids = processes(nacre) if "filler" in killed else servers(image)
    for pid in pids if "holder" in killed else pids[1:]:
        os.kill(pid, signal.SIGKILL)
    server.gate.set()
    out, err = process.communicate(timeout=60)
    if "holder" in killed:
        assert FILES[LAST[1:]].startswith(out)
        assert process.returncode > 0, err  # of cat, or SIGBUS: its own program is in the image
    else:
        assert (out, process.returncode) == (FILES[LAST[1:]], 0), err


@pytest.mark.parametrize("image", [FOR_USERS], indirect=True)
def test_for_a_user_it_becomes_a_tree_of_the_driver(nacre: Any, server: HoldingProxy, image: str) -> None:
    server.gate.set()
    assert run(nacre, image, "cat", LAST).communicate(timeout=60)[0] == FILES[LAST[1:]]
    deadline = time.monotonic() + 60
    while not [*nacre.root.glob("trees/*/fs")]:
        assert time.monotonic() < deadline
    assert nacre("run", "--rm", image, "wc", "-c", LAST).out == f"{1 << 19} {LAST}\n"
    assert finished(nacre)
    assert "No problems found" in nacre("system", "check").out


@pytest.mark.parametrize("image", [FOR_USERS], indirect=True)
def test_for_a_user_a_tar_is_waited_for(nacre: Any, server: HoldingProxy, image: str) -> None:
    """By whoever packs the layer otherwise: no event of the kernel makes him wait."""
    process, other = run(nacre, image, "cat", LAST), f"{server.registry}/other:1"
    server.wait_held()
    nacre("tag", image, other)
    pushing = nacre.start("push", "-q", "--compression", "gzip", other)
    deadline = time.monotonic() + 60
    while pushing.poll() is None and not reads_tar(other):
        assert time.monotonic() < deadline
    server.gate.set()
    assert pushing.communicate(timeout=60)[1] == b""
    assert process.communicate(timeout=60)[0] == FILES[LAST[1:]]


def reads_tar(name: str) -> bool:
    """Whether a process with this argument has the tar of a layer open."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if name.encode() in (place / "cmdline").read_bytes():
                open_files = [os.readlink(each) for each in (place / "fd").iterdir()]
                if any(path.endswith("/layer.tar") for path in open_files):
                    return True
    return False


@pytest.mark.parametrize("image", FOR_ROOT, indirect=True)
def test_what_a_profile_names_is_fetched_before_it_is_read(
    nacre: Any, server: HoldingProxy, image: str, tmp_path: Path
) -> None:
    mine, nacre.root = nacre.root, tmp_path / "store"
    nacre("optimize", "--network", "none", f"{server.registry}/app:1", "cat", LAST)
    nacre.root = mine
    process = run(nacre, image, "echo", "hello")
    server.wait_held(1)  # that and the rest, from 8 MiB on
    assert max(server.begins) > 10 << 20
    server.gate.set()
    assert process.communicate(timeout=60)[0] == b"hello\n"


@pytest.mark.parametrize("image", FOR_ROOT, indirect=True)
def test_what_was_read_meanwhile_can_be_pushed(nacre: Any, server: HoldingProxy, image: str) -> None:
    process = run(nacre, image, "cat", LAST)
    server.wait_held()
    assert f"nothing was recorded of {image}" in nacre("optimize", "--recorded", image, check=False).err
    server.gate.set()
    assert process.communicate(timeout=60)[0] == FILES[LAST[1:]]
    deadline = time.monotonic() + 60
    while nacre("optimize", "--recorded", "-o", "profile.json", image, check=False).code:
        assert time.monotonic() < deadline
    profile = AccessProfile.parse((nacre.folder / "profile.json").read_bytes())
    assert profile.reads  # how many depends on how soon the rest is here
    assert "runs no command" in nacre("optimize", "--recorded", image, "true", check=False).err


def test_what_cannot_be_had_is_an_error(nacre: Any, server: HoldingProxy, image: str) -> None:
    server.status = 404
    server.gate.set()
    process = run(nacre, image, "sh", "-c", f"cat {LAST}; echo $?; read line")
    assert process.stdout is not None
    out = process.stdout.readline()
    assert out == b"1\n"
    assert b"Input/output error" in process.communicate(timeout=60)[1]


@pytest.mark.parametrize("image", FOR_ROOT, indirect=True)
def test_pull_comes_back_at_once_and_the_rest_comes(nacre: Any, server: HoldingProxy, image: str) -> None:
    nacre("pull", "-q", "--lazy", image)
    server.wait_held()
    server.gate.set()
    assert nacre("run", "--rm", image, "wc", "-c", LAST).out == f"{1 << 19} {LAST}\n"
    nacre("pull", "-q", "--lazy", image)
    assert "No problems found" in nacre("system", "check").out


def test_lazy_goes_with_one_image(nacre: Any) -> None:
    assert "--lazy goes with one image" in nacre("pull", "--lazy", "-a", "x/app", check=False).err


@pytest.mark.parametrize("image", ["gzip and an index"], indirect=True)
def test_what_has_an_index_gets_no_other(nacre: Any, server: HoldingProxy, image: str) -> None:
    server.gate.set()
    direct = f"{server.registry}/app:1"
    nacre("run", "--rm", direct, "true")
    again = nacre("push", "--lazy-index", direct)
    assert "No layer lacks an index" in again.err
