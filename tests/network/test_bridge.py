"""Containers with a network of their own, by the command line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lab import MACHINE, MACHINE6, OUTSIDE, Lab, ask, make, pour, reaches, server
from waiting import until

from nacre.ground.network import namespaces
from nacre.ground.network import nftables as nft

IMAGE = "busybox:test"


def test_out(lab: Lab) -> None:
    """What leaves a container has the address of this machine."""
    lab.run("--name", "c1", "--network", "bridge")
    with lab.namespace("c1") as inside, server(lab.outside, OUTSIDE, 0) as port:
        assert ask(inside, OUTSIDE, port) == f"server {MACHINE}"
    with lab.namespace("c1") as inside, server(lab.outside, OUTSIDE, 0, "udp") as port:
        assert ask(inside, OUTSIDE, port, "udp") == f"server {MACHINE}"


def test_what_a_container_sees(lab: Lab) -> None:
    script = "ip addr show eth0; ip route; cat /etc/hosts; hostname"
    words = [
        "--network",
        "bridge",
        "--mac-address",
        "92-D0-C6-0a-29-33",
        "-h",
        "me",
        "--add-host",
        "up:host-gateway",
    ]
    shown = lab("run", "--rm", *words, "--add-host", "db:10.0.0.9", IMAGE, "sh", "-c", script).out
    assert "inet 10.90.0.2/32" in shown
    assert "link/ether 92:d0:c6:0a:29:33" in shown
    assert "inet6" not in shown.partition("default")[0]
    assert "default via 10.90.0.1 dev eth0" in shown
    for line in ("127.0.0.1\tlocalhost", "10.90.0.2\tme", "10.90.0.1\tup", "10.0.0.9\tdb"):
        assert line in shown.split("\n")
    until(lab.is_empty)


def test_resolv_conf(lab: Lab) -> None:
    own = ["--dns", "9.9.9.9", "--dns-search", "x.org", "--dns-option", "ndots:2"]
    shown = lab("run", "--rm", "--network", "bridge", *own, IMAGE, "cat", "/etc/resolv.conf")
    assert shown.lines == ["search x.org", "nameserver 9.9.9.9", "options ndots:2"]


def test_published(lab: Lab) -> None:
    """From everywhere but other addresses; the server sees who asks, where no proxy stands between."""
    words = ["-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", f"{MACHINE}:8082:80", "-p", "8083:53/udp"]
    lab.run("--name", "c1", "--network", "bridge", *words)
    lab.run("--name", "c2", "--network", "bridge")
    with lab.serving("c1", 80), lab.serving("c1", 53, "udp"), lab.namespace("c2") as other:
        assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
        assert ask(lab.machine, MACHINE, 8080) == f"c1 {MACHINE}"
        assert ask(lab.machine, "127.0.0.1", 8080) == "c1 10.90.0.1"
        assert ask(lab.machine, "::1", 8080) == "c1 10.90.0.1"
        assert ask(lab.outside, MACHINE6, 8080) == "c1 10.90.0.1"
        assert ask(other, "10.90.0.1", 8080) == "c1 10.90.0.3"
        assert ask(other, MACHINE, 8080) == "c1 10.90.0.3"
        with lab.namespace("c1") as itself:
            assert ask(itself, MACHINE, 8080) == "c1 10.90.0.1"

        assert ask(lab.machine, "127.0.0.1", 8081) == "c1 10.90.0.1"
        assert ask(lab.outside, MACHINE, 8082) == f"c1 {OUTSIDE}"
        for fd, host, port in (
            (lab.outside, MACHINE, 8081), (lab.machine, MACHINE, 8081), (other, "10.90.0.1", 8081),
            (lab.machine, "127.0.0.1", 8082), (other, "10.90.0.1", 8082), (lab.machine, "::1", 8082),
        ):  # fmt: skip
            with pytest.raises(ConnectionRefusedError):
                ask(fd, host, port)

        assert ask(lab.outside, MACHINE, 8083, "udp") == f"c1 {OUTSIDE}"
        for host in ("127.0.0.1", "::1"):
            assert ask(lab.machine, host, 8083, "udp") == "c1 10.90.0.1"
        assert ask(lab.outside, MACHINE6, 8083, "udp") == "c1 10.90.0.1"


def test_much_through_the_proxy(lab: Lab) -> None:
    """Both directions at once, and the end of each is passed on by itself."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "127.0.0.1:8080:80")
    size = 4 << 20
    with lab.namespace("c1") as inside, make(inside, "0.0.0.0", "tcp") as listening:
        listening.bind(("0.0.0.0", 80))
        listening.listen()
        with make(lab.machine, "127.0.0.1", "tcp") as client:
            client.connect(("127.0.0.1", 8080))
            served, _ = listening.accept()
            for one, two in ((client, served), (served, client)):
                pour(one, two, size)
            served.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.sendall(b"last")
            assert served.recv(4) == b"last"
            served.close()


def test_ports_shown(lab: Lab) -> None:
    words = [
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:7000-7001:7000-7001",
        "--expose",
        "90-91/udp",
        "-p",
        "5000-5001:53/udp",
    ]
    lab.run("--name", "c1", "--network", "bridge", *words)
    assert lab("port", "c1").lines == [
        "53/udp -> 0.0.0.0:5000", "53/udp -> [::]:5000", "7000/tcp -> 127.0.0.1:7000",
        "7001/tcp -> 127.0.0.1:7001", "80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:8080",
    ]  # fmt: skip
    assert lab("port", "c1", "80").lines == ["0.0.0.0:8080", "[::]:8080"]
    assert lab("port", "c1", "53/udp").lines == ["0.0.0.0:5000", "[::]:5000"]
    assert lab.fails("port", "c1", "90/udp") == (1, "nacre: no public port '90/udp' published for c1\n")
    assert lab("ps", "--format", "{{.Ports}}").out.strip() == (
        "90-91/udp, 127.0.0.1:7000-7001->7000-7001/tcp, 0.0.0.0:5000->53/udp, [::]:5000->53/udp, "
        "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    )
    (shown,) = lab("inspect", "c1").json
    assert shown["NetworkSettings"]["Ports"]["80/tcp"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"},
    ]  # fmt: skip
    assert shown["NetworkSettings"]["Ports"]["90/udp"] is None
    assert shown["NetworkSettings"]["IPAddress"] == "10.90.0.2"
    assert shown["HostConfig"]["NetworkMode"] == "bridge"
    assert shown["HostConfig"]["PortBindings"]["53/udp"] == [{"HostIp": "", "HostPort": "5000-5001"}]
    assert [*shown["Config"]["ExposedPorts"]] == [
        "53/udp",
        "7000/tcp",
        "7001/tcp",
        "80/tcp",
        "90/udp",
        "91/udp",
    ]
    for words, found in (
        ("publish=80", "c1"),
        ("publish=90/udp", ""),
        ("expose=90/udp", "c1"),
        ("network=bridge", "c1"),
    ):
        assert lab("ps", "--filter", words, "--format", "{{.Names}}").out.strip() == found
    lab("stop", "-t", "0", "c1")
    (shown,) = lab("inspect", "c1").json
    assert (shown["NetworkSettings"]["Ports"], shown["NetworkSettings"]["IPAddress"]) == ({}, "")
    assert lab("port", "c1").out == ""


def test_publish_all(lab: Lab, nacre: Any, busybox_tar: bytes) -> None:
    nacre(
        "import", "--change", "EXPOSE 80 53/udp", "--change", "ENV PATH=/bin", "-", "web:1", input=busybox_tar
    )
    lab("run", "-d", "--name", "c1", "--network", "bridge", "-P", "-p", "81", "web:1", "sleep", "1000")
    found = {line.partition(" ")[0]: line.rpartition(":")[2] for line in lab("port", "c1").lines}
    assert [*found] == ["53/udp", "80/tcp", "81/tcp"]
    assert all(int(port) >= 1024 for port in found.values())
    with lab.serving("c1", 80):
        assert ask(lab.outside, MACHINE, int(found["80/tcp"])) == f"c1 {OUTSIDE}"


def test_a_taken_port(lab: Lab) -> None:
    """It is an error before anything starts; of a range the next one is taken."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80")
    code, said = lab.fails(
        "run", "--name", "c2", "--network", "bridge", "-p", "8080:80", IMAGE, "touch", "/x"
    )
    assert code == 125
    assert said.startswith("nacre: failed to bind host port 0.0.0.0:8080/tcp: address already in use\n")
    assert lab("ps", "-a", "--filter", "name=c2", "--format", "{{.State}}").out == "created\n"
    assert lab("diff", "c2").out == ""
    with server(lab.machine, MACHINE, 0) as port:
        code, said = lab.fails("run", "--network", "bridge", "-p", f"{port}:80", IMAGE, "true")
        assert (code, f"0.0.0.0:{port}/tcp: address already in use" in said) == (125, True)
    lab.run("--name", "c3", "--network", "bridge", "-p", "8080-8082:80")
    assert lab("port", "c3", "80").lines == ["0.0.0.0:8081", "[::]:8081"]
    code, said = lab.fails("run", "--network", "bridge", "-p", "203.0.113.7:80:80", IMAGE, "true")
    assert (code, "203.0.113.7:80/tcp: cannot assign requested address" in said) == (125, True)
    twice = ["-p", "9000:80", "-p", "9000:81"]
    assert "9000/tcp: address already in use" in lab.fails("run", "--network", "bridge", *twice, IMAGE)[1]
    lab("rm", "-f", "c1")
    lab("start", "c2")


def test_a_claimed_port_is_nobody_elses(lab: Lab) -> None:
    """Also between one address and all of them, for as long as the container runs and no longer."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "127.0.0.1:9000:80", "-p", "9001:80/udp")
    for words in ("9000:80", "127.0.0.1:9000:80", "9001:80/udp", "127.0.0.1:9001:80/udp", "[::]:9001:80/udp"):
        code, said = lab.fails("run", "--rm", "--network", "bridge", "-p", words, IMAGE, "true")
        assert (code, "address already in use" in said) == (125, True), words
    for words in ("9001:80", "[::1]:9000:80"):
        assert lab("run", "--rm", "--network", "bridge", "-p", words, IMAGE, "true").err == ""
    lab("rm", "-f", "c1")
    lab("run", "--rm", "--network", "bridge", "-p", "9000:80", "-p", "9001:80/udp", IMAGE, "true")


def test_an_address_of_ipv6(lab: Lab) -> None:
    lab.run("--name", "c1", "--network", "bridge", "-p", "[::1]:9000:80", "-p", f"[{MACHINE6}]:9001:80")
    assert lab("port", "c1", "80").lines == ["[::1]:9000", f"[{MACHINE6}]:9001"]
    with lab.serving("c1", 80):
        assert ask(lab.machine, "::1", 9000) == "c1 10.90.0.1"
        assert ask(lab.outside, MACHINE6, 9001) == "c1 10.90.0.1"
        for fd, host, port in (
            (lab.machine, "127.0.0.1", 9000), (lab.machine, MACHINE6, 9000), (lab.outside, MACHINE6, 9000),
            (lab.machine, "::1", 9001), (lab.machine, MACHINE, 9001),
        ):  # fmt: skip
            with pytest.raises(ConnectionRefusedError):
                ask(fd, host, port)


def test_ranges_lead_where_they_say(lab: Lab) -> None:
    lab.run("--name", "c1", "--network", "bridge", "-p", "9000-9002:80-82", "-p", "9000-9001:53-54/udp")
    for port in (80, 82):
        with lab.serving("c1", port):
            assert ask(lab.outside, MACHINE, 9000 + port - 80) == f"c1 {OUTSIDE}"
    with lab.serving("c1", 54, "udp"):
        assert ask(lab.outside, MACHINE, 9001, "udp") == f"c1 {OUTSIDE}"


def test_sctp_is_rejected_by_name(lab: Lab, nacre: Any, busybox_tar: bytes) -> None:
    """Before there is a container, or with -P when the image asks for it."""
    said = "only ports of TCP and UDP can be published"
    code, err = lab.fails("run", "--network", "bridge", "-p", "8080:80/sctp", IMAGE, "true")
    assert (code, err) == (125, f"nacre: cannot publish port 80/sctp: {said}\n")
    assert lab("ps", "-aq").out == ""
    nacre("import", "--change", "EXPOSE 80/sctp", "--change", "ENV PATH=/bin", "-", "s:1", input=busybox_tar)
    assert said in lab.fails("run", "--rm", "-P", "--network", "bridge", "s:1", "true")[1]


def test_restart_and_create(lab: Lab) -> None:
    lab("create", "--name", "c1", "--network", "bridge", "-p", "8080:80", IMAGE, "sleep", "1000")
    until(lab.is_empty)
    for _ in range(2):
        lab("start", "c1")
        with lab.serving("c1", 80):
            assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
        lab("stop", "-t", "0", "c1")
        until(lab.is_empty)


def test_shared_with_another_container(lab: Lab) -> None:
    number = lab.run("--name", "c1", "--network", "bridge", "-h", "first")
    words = ["run", "--rm", "--network", "container:c1"]
    shown = lab(*words, IMAGE, "sh", "-c", "ip addr show eth0; hostname; cat /etc/hosts").out
    assert "inet 10.90.0.2/32" in shown
    assert "\nfirst\n" in shown
    assert "10.90.0.2\tfirst" in shown
    with lab.serving("c1", 80):
        done = lab(*words, IMAGE, "sh", "-c", "echo | nc 127.0.0.1 80")
    assert done.out.startswith("c1 127.0.0.1")
    lab("create", "--name", "c2", "--network", f"container:{number[:12]}", IMAGE, "true")
    assert lab("inspect", "-f", "{{.HostConfig.NetworkMode}}", "c2").out.strip() == f"container:{number}"
    for extra, what in (("-p=80", "port publishing"), ("-h=x", "hostname"), ("--dns=9.9.9.9", "dns")):
        assert (
            f"conflicting options: {what} and the container type"
            in lab.fails(*words, extra, IMAGE, "true")[1]
        )
    lab("rm", "-f", "c1")
    assert lab.fails("start", "-a", "c2")[0] != 0


def test_the_foreground_is_the_same(lab: Lab, nacre: Any) -> None:
    process = nacre.start
    own, nacre.command = nacre.command, lab.command_of(nacre.command)
    process = nacre.start(
        "run", "--rm", "--name", "c1", "--network", "bridge", "-p", "8080:80", IMAGE, "sleep", "1000"
    )
    nacre.command = own
    until(lambda: lab("ps", "-q").out)
    with lab.serving("c1", 80):
        assert ask(lab.machine, "127.0.0.1", 8080) == "c1 10.90.0.1"
    lab("kill", "c1")
    process.communicate(timeout=30)
    assert process.returncode == 137
    until(lab.is_empty)


def test_forwarding_is_enabled_and_said(lab: Lab) -> None:
    lab.forward(False)
    done = lab("run", "--rm", "--network", "bridge", IMAGE, "true")
    assert done.err == "WARNING: this machine forwards packets from now on (net.ipv4.ip_forward = 1)\n"
    assert lab.forwards()
    assert lab("run", "--rm", "--network", "bridge", IMAGE, "true").err == ""


@pytest.mark.parametrize("chains", [("FORWARD",), ("FORWARD", "DOCKER-USER")])
def test_a_forward_chain_that_drops(lab: Lab, chains: tuple[str, ...]) -> None:
    """As docker, ufw and others leave it; what comes from elsewhere is still dropped."""
    hook = nft.Chain("FORWARD", "filter", nft.FORWARD, 0)
    with namespaces.InsideNamespace(lab.machine):
        theirs = nft.Firewall()
        drop = nft.rule("filter", "FORWARD", [nft.verdict(nft.DROP)], family=nft.IPV4)
        jump = nft.rule("filter", "FORWARD", [nft.jump("DOCKER-USER")], family=nft.IPV4)
        theirs.change([
            nft.table("filter", nft.IPV4, owned=False), nft.chain("filter", hook, nft.IPV4, drops=True),
            *(nft.chain("filter", nft.Chain(name), nft.IPV4) for name in chains[1:]),
            *([jump] if chains[1:] else []), drop,
        ])  # fmt: skip
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80")
    lab.run("--name", "c2", "--network", "bridge")
    for _ in range(2):
        with lab.namespace("c1") as inside, server(lab.outside, OUTSIDE, 0) as port:
            assert ask(inside, OUTSIDE, port) == f"server {MACHINE}"
        with lab.serving("c1", 80), lab.namespace("c2") as other:
            assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
            assert ask(other, "10.90.0.2", 80) == "c1 10.90.0.3"
        notes = theirs.notes(nft.IPV4, "filter", chains[-1])
        assert len([note for note in notes if note]) == 2
    theirs.change([nft.no_table("filter", nft.IPV4)])
    theirs.close()


FIREWALLD = """
from nacre.ground.network import nftables as nft
open("/proc/self/comm", "w").write({!r})
hook = nft.Chain("filter_FORWARD", "filter", nft.FORWARD, 10)
made = [nft.table("firewalld", owned=False), nft.chain("firewalld", hook)]
last = nft.rule("firewalld", "filter_FORWARD", [nft.verdict(nft.DROP)])
theirs = nft.Firewall()
theirs.change([nft.table("firewalld", owned=False), nft.no_table("firewalld")])
theirs.change([*made, last])
"""


def test_a_reload_of_firewalld(lab: Lab) -> None:
    """The keepers put the rules back, once, and sleep through what others do."""

    def load(name: str = "firewalld") -> None:
        words = ["nsenter", f"--net={lab.path(lab.machine)}", sys.executable, "-c", FIREWALLD.format(name)]
        subprocess.run(words, check=True)

    def notes() -> list[bytes]:
        with namespaces.InsideNamespace(lab.machine), closing(nft.Firewall()) as theirs:
            return [note for note in theirs.notes(nft.INET, "firewalld", "filter_FORWARD") if note]

    load()
    for name in ("c1", "c2"):
        lab.run("--name", name, "--network", "bridge")
    assert len(notes()) == 2
    keepers = [lab.small_keeper(name) for name in ("c1", "c2")]
    load("other")
    assert not notes()
    load()
    until(lambda: len(notes()) == 2)
    with lab.namespace("c1") as inside, server(lab.outside, OUTSIDE, 0) as port:
        assert ask(inside, OUTSIDE, port) == f"server {MACHINE}"
    assert [lab.small_keeper(name) for name in ("c1", "c2")] == keepers
    load()
    until(lambda: len(notes()) == 2)
    lab("rm", "-f", "c1", "c2")
    assert len(notes()) == 2


def test_iptables_shows_the_rules_as_its_own(lab: Lab, peer: Callable[..., None]) -> None:
    peer("iptables")

    def iptables(*words: str) -> list[str]:
        command = ["nsenter", f"--net={lab.path(lab.machine)}", "iptables", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")

    if "legacy" in iptables("--version")[0]:
        pytest.skip("iptables is the legacy one")
    iptables("-P", "FORWARD", "DROP")
    lab("run", "--rm", "--network", "bridge", IMAGE, "true")
    comment = ["-m", "comment", "--comment", "nacre: links of containers", "-j", "ACCEPT"]
    for way in ("-i", "-o"):
        assert f'-A FORWARD {way} nv+ -m comment --comment "{comment[3]}" -j ACCEPT' in iptables("-S")
        iptables("-D", "FORWARD", way, "nv+", *comment)
    assert not [line for line in iptables("-S") if "nv+" in line]


def test_the_memory_of_a_keeper(lab: Lab) -> None:
    """A network that nobody asks anything needs none."""
    lab.run("--name", "c1", "--network", "none")
    lab.run("--name", "c2", "--network", "bridge", "-p", "8080:80")
    own, more = (_private(lab.small_keeper(name)) for name in ("c1", "c2"))
    assert more < own + 300


def _private(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Private_Dirty:")[1].split()[0])


def test_other_networks_than_that_of_the_host_cost_nothing(lab: Lab) -> None:
    """A container with the host's network, or none, loads nothing of this."""
    code = (
        "import sys; from nacre.cli.main import entry\n"
        "try: entry()\n"
        "finally: print(*[n for n in sys.modules if 'network' in n or n == '_socket'], file=sys.stderr)"
    )
    words = lab.command("run", "--rm", "--network", "none", IMAGE, "true")
    place = words.index("--root")
    words[place - 1 : place] = ["-c", f"import sys; sys.argv[0] = 'nacre'\n{code}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""


def test_no_way_in_by_a_wrong_address(lab: Lab) -> None:
    """A port of one address is not that of another."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "[::1]:8080:80")
    with lab.serving("c1", 80):
        assert ask(lab.machine, "::1", 8080) == "c1 10.90.0.1"
        assert not reaches(lab.outside, MACHINE6, 8080)
        assert not reaches(lab.outside, MACHINE, 8080)
        assert not reaches(lab.machine, "127.0.0.1", 8080)


def test_state_is_json(lab: Lab, nacre: Any) -> None:
    number = lab.run("--name", "c1", "--network", "bridge")
    folder = nacre.root / "containers" / number
    found = json.loads((folder / "network").read_text())
    assert found["endpoints"]["bridge"]["address"] == "10.90.0.2"
    lab("stop", "-t", "0", "c1")
    assert not (folder / "network").exists()
    assert not (folder / "network.sock").exists()
