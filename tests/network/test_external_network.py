"""`--network pasta` and `slirp4netns`: the programs themselves, on a machine with an outside."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import MACHINE, OUTSIDE, Lab, ask, reaches, server
from waiting import until

from nacre.ground.network import external, links, namespaces
from nacre.ground.network.netlink import ROUTE, Netlink
from nacre.services.containers import networkprogram
from nacre.words.addresses import packed
from nacre.words.errors import NacreError

PROGRAMS = ["pasta", "slirp4netns"]
IMAGE = "busybox:test"


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    """One that is here, on a machine with a default route."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    try:
        external.check_device(request.param)
    except NacreError as error:
        pytest.skip(str(error))
    with namespaces.InsideNamespace(lab.machine), Netlink(ROUTE) as netlink:
        netlink.send([links.up(1), links.route(links.index(netlink, "up0"), bytes(4), 0, packed(OUTSIDE))])
    yield request.param
    for name in lab("ps", "-aq").lines:
        lab("rm", "-f", name)
    assert not running(request.param)


def running(program: str) -> list[int]:
    """Processes of a program in the folder of a test's container."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if line.startswith(b"/") and f"/{program}\0".encode() in line and b"netns" in line:
            found.append(int(folder.name))
    return found


def is_free(lab: Lab, port: int) -> bool:
    """A program that is killed lets go of its ports a moment after its name."""
    try:
        with server(lab.machine, "0.0.0.0", port):
            return True
    except OSError:
        return False


def test_out_and_in(lab: Lab, program: str) -> None:
    """TCP and UDP, of the container and to its published ports; it is in no network of ours."""
    lab.run("--name", "web", "--network", program, "-p", "8080:80", "-p", "0.0.0.0:5353:53/udp")
    with lab.namespace("web") as inside:
        for protocol in ("tcp", "udp"):
            with server(lab.outside, OUTSIDE, 0, protocol) as port:
                assert ask(inside, OUTSIDE, port, protocol).startswith("server ")
    with lab.namespace("web") as inside, server(lab.machine, "127.0.0.1", 0) as port:
        for host in ("127.0.0.1", "10.0.2.2", OUTSIDE):  # neither loopback nor by the gateway
            assert not reaches(inside, host, port)
    with lab.serving("web", 80):
        assert ask(lab.outside, MACHINE, 8080).startswith("web ")
        assert ask(lab.machine, "127.0.0.1", 8080).startswith("web ")
    with lab.serving("web", 53, "udp"):
        assert ask(lab.outside, MACHINE, 5353, "udp").startswith("web ")
    assert lab("port", "web", "53/udp").lines == ["0.0.0.0:5353"]
    assert lab("inspect", "-f", "{{.HostConfig.NetworkMode}}", "web").lines == [program]
    assert lab.address("web", program) == {"pasta": MACHINE, "slirp4netns": "10.0.2.100"}[program]
    assert lab("network", "ls", "--format", "{{.Name}}").lines == ["bridge", "host", "none"]
    assert "cannot be connected to other networks" in lab.fails("network", "connect", "bridge", "web")[1]
    routes = lab("run", "--rm", "--network", "container:web", IMAGE, "cat", "/proc/net/route").lines
    assert len(routes) > 2


@pytest.mark.parametrize("small", [False, True])
def test_it_ends_with_the_keeper(lab: Lab, program: str, small: bool) -> None:
    """However that is killed: while it is large, and as the small process that it becomes."""
    lab.run("--name", "web", "--network", program, "-p", "8080:80")
    keeper = lab.small_keeper("web") if small else lab.keeper("web")
    assert len(running(program)) == 1
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not running(program))
    until(lambda: is_free(lab, 8080))
    assert lab("ps", "-a", "--format", "{{.State}}").lines == ["exited"]


def test_it_ends_with_the_container(lab: Lab, program: str) -> None:
    """Also when the first process of its namespace is killed, and after a restart."""
    lab.run("--name", "web", "--network", program)
    lab("restart", "-t", "0", "web")
    (pid,) = running(program)
    lab("kill", "web")
    lab("wait", "web")
    assert not os.path.exists(f"/proc/{pid}")
    lab("start", "web")
    (pid,) = running(program)
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    until(lambda: not running(program))
    assert lab("ps", "--format", "{{.State}}").lines == ["running"]


def test_what_is_said(lab: Lab, program: str) -> None:
    """One sentence for what it does not take, and for a port that another has."""
    bad = {"pasta": "pasta:--no-such-option", "slirp4netns": "slirp4netns:outbound_addr=no-such"}[program]
    code, said = lab.fails("run", "--rm", "--network", bad, IMAGE, "true")
    assert code == 125
    assert said.startswith(f"nacre: {program} did not start: ")
    assert said.count("\n") == 1
    with server(lab.machine, "0.0.0.0", 8080):
        said = lab.fails("run", "--rm", "--network", program, "-p", "8080:80", IMAGE, "true")[1]
        assert said.startswith("nacre: failed to bind host port 0.0.0.0:8080/tcp: address already in use")
    said = lab.fails("run", "--rm", "--network", program, "--network", "bridge", IMAGE, "true")[1]
    assert said == f"nacre: conflicting options: {program} and another network\n"
    said = lab.fails("network", "create", program)[1]
    assert said == f"nacre: operation is not permitted on predefined {program} network\n"
    shown = lab("run", "--rm", "--network", program, "--dns", "9.9.9.9", IMAGE, "cat", "/etc/resolv.conf").out
    assert "nameserver 9.9.9.9" in shown


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "FOLDERS", ())
    with pytest.raises(NacreError, match=f"needs the program {name}, which is not installed") as caught:
        networkprogram.check(name)
    assert "--network bridge" in caught.value.hint


def test_a_device_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "TUN", "/nonexistent/tun")
    with pytest.raises(NacreError, match="pasta needs /nonexistent/tun, which cannot be opened"):
        external.check_device("pasta")


def test_slirp4netns_publishes_no_ipv6(lab: Lab) -> None:
    if not shutil.which("slirp4netns"):
        pytest.skip("slirp4netns is not installed")
    code, said = lab.fails("run", "--rm", "--network", "slirp4netns", "-p", "[::1]:8080:80", IMAGE, "true")
    assert (code, said) == (125, "nacre: slirp4netns publishes no ports of IPv6: [::1]:8080\n")
