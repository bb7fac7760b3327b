"""The network that a container of an ordinary user has when none is named. As root: `test_default`."""

from __future__ import annotations

import os
import platform
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

SHARED = "WARNING: the container shares the network of this machine: "


@pytest.fixture
def image(nacre: Any, busybox_image: str) -> Iterator[str]:
    """For an ordinary user; no container is left."""
    if os.geteuid() == 0:
        pytest.skip("an ordinary user's case")
    nacre.env.pop("NACRE_NETWORK", None)
    if nacre("run", "--rm", busybox_image, "true").err.startswith(SHARED):
        pytest.skip("no network of its own is possible here")
    yield busybox_image
    for row in nacre("ps", "-aq").lines:
        nacre("rm", "-f", row)


def served(port: int) -> bytes:
    """What a published port answers; nothing as long as it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: client.recv(4096), b""))
    except OSError:
        return b""


def serve(nacre: Any, image: str, name: str, *options: str) -> int:
    """A server at port 80, published at a free port of 127.0.0.1, which is given."""
    script = f"echo {name} > /srv/index.html; exec httpd -f -p 80 -h /srv"
    nacre("run", "-d", "--name", name, "-p", "127.0.0.1::80", *options, image, "sh", "-c", script)
    port = int(nacre("port", name, "80").out.rpartition(":")[2])
    until(lambda: name.encode() in served(port))
    return port


def test_it_is_bridge(nacre: Any, image: str) -> None:
    own = os.readlink("/proc/self/ns/net")
    for words in ([], ["--network", "default"]):
        done = nacre("run", "--rm", *words, image, "readlink", "/proc/self/ns/net")
        assert done.err == ""
        assert done.out.strip() != own
    nacre("create", "--name", "one", image, "readlink", "/proc/self/ns/net")
    assert nacre("inspect", "-f", "{{.HostConfig.NetworkMode}}", "one").out == "bridge\n"
    assert nacre("start", "-a", "one").out.strip() != own


@pytest.mark.parametrize("given", ["host", "none"])
def test_another_default(nacre: Any, image: str, given: str) -> None:
    nacre.env["NACRE_NETWORK"] = given
    found = nacre("run", "--rm", image, "readlink", "/proc/self/ns/net").out.strip()
    assert (found == os.readlink("/proc/self/ns/net")) is (given == "host")


def test_two_copies_of_a_server(nacre: Any, image: str) -> None:
    """Each at port 80 of its own, and published only where it was asked for."""
    ports = [serve(nacre, image, name) for name in ("first", "second")]
    assert b"first" in served(ports[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", ports[0]), timeout=60)
    inspected = nacre("inspect", "first").json[0]["NetworkSettings"]
    assert inspected["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(ports[0])}]}
    assert inspected["Networks"]["bridge"]["IPAddress"]
    assert f"127.0.0.1:{ports[0]}->80/tcp" in nacre("ps").out


def test_what_listens_here_is_not_reached(nacre: Any, image: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert nacre("run", "--rm", image, "nc", "127.0.0.1", port, check=False).code == 1


def test_one_more_program_sees_the_first(nacre: Any, image: str) -> None:
    nacre("run", "-d", "--name", "one", "-e", "SEEN=yes", image, "sleep", "1000")
    assert "SEEN=yes" in nacre("exec", "one", "cat", "/proc/1/environ").out


def test_network_of_another_container(nacre: Any, image: str) -> None:
    """Also by way of a third, started later, and for `exec`."""
    serve(nacre, image, "web")
    ask = "wget", "-q", "-O-", "http://127.0.0.1/index.html"
    assert nacre("run", "--rm", "--network", "container:web", image, *ask).out == "web\n"
    nacre("create", "--name", "beside", "--network", "container:web", image, "sleep", "1000")
    nacre("start", "beside")
    assert nacre("exec", "beside", *ask).out == "web\n"
    nacre("restart", "-t", "0", "beside")
    assert nacre("exec", "beside", *ask).out == "web\n"
    assert nacre("run", "--rm", "--network", "container:beside", image, *ask).out == "web\n"
    nacre("create", "--name", "attached", "--network", "container:web", image, *ask)
    assert nacre("start", "-a", "attached").out == "web\n"
    nacre("rm", "-f", "web")
    failed = nacre("start", "attached", check=False)
    assert (failed.code, "No such container" in failed.err) == (1, True)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_other_runtimes(nacre: Any, image: str, runtime: str, peer: Callable[..., None]) -> None:
    peer(runtime)
    serve(nacre, image, "other", "--runtime", runtime)
    ask = "wget", "-q", "-O-", "http://127.0.0.1/index.html"
    words = "run", "--rm", "--network", "container:other", "--runtime", runtime
    assert nacre(*words, image, *ask).out == "other\n"


def keepers(nacre: Any, name: str) -> list[Path]:
    """Of the process that keeps a container, and of the zygote beside the program."""
    pid = nacre("inspect", "-f", "{{.State.Pid}}", name).out.strip()
    keeper = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return [Path("/proc", each) for each in (keeper, *(each for each in children if each != pid))]


def lives(folder: Path) -> bool:
    """Whether a process has not ended: one whose parent waits for nobody stays a zombie."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_small(folder: Path) -> bool:
    """Whether a process takes less than 100 kB."""
    return int((folder / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") < 100 << 10


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a small program waits on x86-64 alone")
def test_what_waits_is_small_and_serves_when_asked(nacre: Any, image: str) -> None:
    port = serve(nacre, image, "web")
    keeper, zygote = keepers(nacre, "web")
    until(lambda: is_small(keeper) and is_small(zygote))
    assert b"web" in served(port)
    until(lambda: is_small(keeper))
    assert nacre("exec", "web", "wget", "-q", "-O-", "http://127.0.0.1/index.html").out == "web\n"
    until(lambda: is_small(keeper))
    assert "127.0.0.11" in nacre("exec", "web", "busybox", "nslookup", "web", check=False).out
    nacre("stop", "-t", "0", "web")
    until(lambda: not (lives(keeper) or lives(zygote)))
    nacre("start", "web")
    until(lambda: b"web" in served(int(nacre("port", "web", "80").out.rpartition(":")[2])))
    keeper, zygote = keepers(nacre, "web")
    until(lambda: is_small(keeper) and is_small(zygote))
    os.kill(int(keeper.name), signal.SIGKILL)
    until(lambda: not (lives(keeper) or lives(zygote)))
    assert nacre("inspect", "-f", "{{.State.ExitCode}}", "web").out == "137\n"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a small program waits on x86-64 alone")
def test_a_neighbour_that_sleeps_is_reached(nacre: Any, image: str) -> None:
    """Its keeper wakes up when it is asked for the link, and when the container answers."""
    nacre("network", "create", "shop")
    nacre("run", "-d", "--name", "db", "--network", "shop", image, "sleep", "1000")
    keeper, zygote = keepers(nacre, "db")
    until(lambda: is_small(keeper) and is_small(zygote))
    words = "busybox", "ping", "-c", "1", "-W", "20", "db"
    assert "1 packets received" in nacre("run", "--rm", "--network", "shop", image, *words).out
    until(lambda: is_small(keeper))
