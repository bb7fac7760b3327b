"""Networks that users make: subnets, names, joining and leaving."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest
from lab import MACHINE, OUTSIDE, OUTSIDE6, Lab, ask, reaches, server
from waiting import until

IMAGE = "busybox:test"
_FAMILIES = {1: socket.AF_INET, 28: socket.AF_INET6}
HEX = re.compile(r"[0-9a-f]{64}\n")


def test_create_list_inspect_remove(lab: Lab) -> None:
    assert HEX.fullmatch(lab("network", "create", "--label", "a=b", "--subnet", "10.77.0.0/24", "web1").out)
    lab("network", "create", "--internal", "-o", "com.docker.network.driver.mtu=1400", "web2")
    listed = lab(
        "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.Labels}}"
    ).lines
    assert listed == [
        "bridge bridge local false ", "host host local false ", "none null local false ",
        "web1 bridge local false a=b", "web2 bridge local true ",
    ]  # fmt: skip
    assert lab("network", "ls").lines[0].split("  ")[0] == "NETWORK ID"
    for words, names in (
        ("type=custom", ["web1", "web2"]), ("label=a", ["web1"]), ("driver=null", ["none"]),
        ("name=eb2", ["web2"]),
        ("dangling=true", ["web1", "web2"]), ("scope=local", ["bridge", "host", "none", "web1", "web2"]),
    ):  # fmt: skip
        assert lab("network", "ls", "--filter", words, "--format", "{{.Name}}").lines == names
    first, second = lab("network", "inspect", "web1", "web2").json
    assert first["IPAM"]["Config"] == [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]
    assert (first["Internal"], second["Internal"], first["Labels"]) == (False, True, {"a": "b"})
    assert second["IPAM"]["Config"] == [{"Subnet": "10.90.0.0/24", "Gateway": "10.90.0.1"}]
    assert lab("network", "inspect", "-f", "{{.Name}}", first["Id"][:12], "host").lines == ["web1", "host"]
    assert lab("inspect", "-f", "{{.Driver}}", "web1").lines == ["bridge"]
    assert lab("network", "rm", "web1", second["Id"]).lines == ["web1", second["Id"]]
    assert lab.fails("network", "inspect", "web1") == (1, "nacre: network web1 not found\n")
    assert lab.fails("network", "rm", "web1") == (1, "nacre: network web1 not found\n")
    assert lab("network", "rm", "-f", "web1").code == 0
    said = "nacre: bridge is a pre-defined network and cannot be removed\n"
    assert lab.fails("network", "rm", "bridge") == (1, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["there"], "network with name there already exists"),
        (["host"], "operation is not permitted on predefined host network"),
        (["lock"], "operation is not permitted on predefined lock network"),
        (["../x"], "invalid network name '../x'"),
        (["-d", "overlay", "x"], "networks have one driver, bridge, not 'overlay'"),
        (["--ingress", "x"], "--ingress is not supported: there is no swarm"),
        (["--ipv4=false", "x"], "networks without IPv4 are not supported"),
        (["-o", "parent=eth0", "x"], "the option parent=eth0 of networks is not supported"),
        (["-o", "com.docker.network.driver.mtu=67", "x"], "is not supported"),
        (["--subnet", "10.5.0.9/24", "x"], "invalid subnet 10.5.0.9/24: it should be 10.5.0.0/24"),
        (["--subnet", "10.66.0.0/25", "x"], "Pool overlaps with other one on this address space"),
        (["--subnet", "127.0.0.0/24", "x"], "it cannot be that of a network of containers"),
        (["--subnet", "0.0.0.0/0", "x"], "it cannot be"), (["--subnet", "10.1.0.0/31", "x"], "it cannot be"),
        (["--subnet", "224.0.0.0/24", "x"], "it cannot be"), (["--subnet", "fe80::/64", "x"], "it cannot be"),
        (["--subnet", "10.5.0.0/24", "--gateway", "10.6.0.1", "x"], "no matching subnet for gateway"),
        (["--gateway", "10.6.0.1", "x"], "no matching subnet for gateway"),
        (["--ip-range", "10.6.0.0/24", "x"], "no matching subnet for range 10.6.0.0/24"),
        (["--subnet", "10.5.0.0/24", "--aux-address", "a=10.6.0.1", "x"], "no matching subnet for aux"),
        (["--subnet", "10.5.0.0/24", "--aux-address", "a=b", "x"], "'b' is no IP address"),
        (["--subnet", "10.5.0.0/24", "--subnet", "10.6.0.0/24", "x"], "a network has one subnet"),
    ],
)  # fmt: skip
def test_what_is_refused(lab: Lab, words: list[str], said: str) -> None:
    lab("network", "create", "--subnet", "10.66.0.0/24", "there")
    code, found = lab.fails("network", "create", *words)
    assert (code, said in found) == (1, True), found
    assert lab("network", "ls", "-q", "--filter", "type=custom").lines[1:] == []


def test_names(lab: Lab) -> None:
    """Of containers in the same network, their aliases, short ids and addresses; others are not known."""
    lab("network", "create", "web")
    lab("network", "create", "other")
    number = lab.run(
        "--name", "Aa", "--network", "web", "--network-alias", "www", "--network-alias", "db.local"
    )
    lab.run("--name", "bb", "--network", "web", "--network-alias", "www")
    lab.run("--name", "cc", "--network", "other")
    shown = lab(
        "run", "--rm", "--network", "web", IMAGE, "sh", "-c", "cat /etc/resolv.conf; nslookup www"
    ).out
    assert "nameserver 127.0.0.11" in shown
    assert "options ndots:0" in shown
    assert "Address: 10.90.0.2" in shown
    assert "Address: 10.90.0.3" in shown
    with lab.namespace("bb") as inside:
        assert _ask_name(inside, "aa") == ["10.90.0.2"]
        assert _ask_name(inside, "WWW") == ["10.90.0.2", "10.90.0.3"]
        assert (
            _ask_name(inside, "db.local")
            == _ask_name(inside, number[:12])
            == _ask_name(inside, "aa.web")
            == ["10.90.0.2"]
        )
        assert _ask_name(inside, "aa", kind=28) == []
        assert _ask_name(inside, "cc") == _ask_name(inside, "cc.other") == 2
        assert _ask_name(inside, "aa", tcp=True) == ["10.90.0.2"]
        assert _ask_name(inside, "2.0.90.10.in-addr.arpa", kind=12) == ["Aa.web"]


def _ask_name(fd: int, name: str, kind: int = 1, tcp: bool = False) -> Any:
    """The addresses that 127.0.0.11 knows for a name, or the code of its refusal."""
    from lab import make

    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = b"\x12\x34\1\0\0\1" + bytes(6) + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"
    with make(fd, "127.0.0.11", "tcp" if tcp else "udp") as client:
        client.settimeout(60)
        client.connect(("127.0.0.11", 53))
        client.sendall(len(query).to_bytes(2, "big") + query if tcp else query)
        reply = client.recv(2000)[2 * tcp :]
    assert reply[:2] == query[:2]
    if reply[3] & 15:
        return reply[3] & 15
    found, rest = [], reply[len(query) :]
    for _ in range(int.from_bytes(reply[6:8], "big")):
        size = int.from_bytes(rest[10:12], "big")
        data, rest = rest[12 : 12 + size], rest[12 + size :]
        found.append(_name(data) if kind == 12 else socket.inet_ntop(_FAMILIES[kind], data))
    return sorted(found)


def _name(data: bytes) -> str:
    labels = []
    while data[0]:
        labels.append(data[1 : 1 + data[0]].decode())
        data = data[1 + data[0] :]
    return ".".join(labels)


def test_other_names_are_passed_on(lab: Lab) -> None:
    """By UDP and TCP, from this machine, also to one that listens on its loopback; the next one is asked when
    nobody answers. Not for a container that has no way out: questions are one (docker CVE-2024-29018).
    """
    lab("network", "create", "web")
    lab("network", "create", "--internal", "priv")
    words = ["--dns", "127.0.0.1", "--dns", "127.0.0.53"]
    lab.run("--name", "aa", "--network", "web", *words)
    lab.run("--name", "bb", "--network", "priv", *words)
    with _name_server(lab) as asked, lab.namespace("aa") as inside, lab.namespace("bb") as private:
        assert _ask_name(inside, "example.org") == ["9.8.7.6"]
        assert _ask_name(inside, "example.org", tcp=True) == ["9.8.7.6"]
        assert len(asked) == 2
        assert _ask_name(private, "example.org") == _ask_name(private, "example.org", tcp=True) == 2
        assert _ask_name(private, "bb") == ["10.90.1.2"]
        assert len(asked) == 2


def _name_server(lab: Lab) -> Any:
    """At 127.0.0.53 of the machine: everything is 9.8.7.6."""
    import threading
    from contextlib import contextmanager

    from lab import make

    from nacre.grammars import dns

    asked: list[str] = []

    def reply(query: bytes) -> bytes:
        question = dns.read_question(query)
        asked.append(question.name)
        return dns.answer(query, question, [bytes([9, 8, 7, 6])])

    def serve(udp: socket.socket, tcp: socket.socket, ended: threading.Event) -> None:
        for each in (udp, tcp):
            each.settimeout(0.02)
        while not ended.is_set():
            try:
                query, client = udp.recvfrom(2000)
                udp.sendto(reply(query), client)
            except OSError:
                pass
            try:
                one, _ = tcp.accept()
            except OSError:
                continue
            with one:
                one.settimeout(60)
                answer = reply(one.recv(2000)[2:])
                one.sendall(len(answer).to_bytes(2, "big") + answer)

    @contextmanager
    def running() -> Any:
        ended = threading.Event()
        with make(lab.machine, "127.0.0.53", "udp") as udp, make(lab.machine, "127.0.0.53", "tcp") as tcp:
            udp.bind(("127.0.0.53", 53))
            tcp.bind(("127.0.0.53", 53))
            tcp.listen()
            thread = threading.Thread(target=serve, args=(udp, tcp, ended))
            thread.start()
            try:
                yield asked
            finally:
                ended.set()
                thread.join()

    return running()


def test_a_program_has_port_53_itself(lab: Lab) -> None:
    lab("network", "create", "web")
    lab.run("--name", "aa", "--network", "web")
    with lab.serving("aa", 53, "udp"), lab.serving("aa", 53), lab.namespace("aa") as inside:
        assert ask(inside, "127.0.0.1", 53, "udp") == "aa 127.0.0.1"
        assert ask(inside, "10.90.0.2", 53) == "aa 10.90.0.2"
        assert _ask_name(inside, "aa") == _ask_name(inside, "aa", tcp=True) == ["10.90.0.2"]


def test_a_dead_container_has_no_name(lab: Lab) -> None:
    lab("network", "create", "web")
    lab.run("--name", "aa", "--network", "web")
    lab.run("--name", "bb", "--network", "web")
    import os
    import signal

    os.kill(lab.keeper("aa"), signal.SIGKILL)
    with lab.namespace("bb") as inside:
        until(lambda: _ask_name(inside, "aa") != ["10.90.0.2"])
    (shown,) = lab("network", "inspect", "web").json
    assert [member["Name"] for member in shown["Containers"].values()] == ["bb"]
    lab("start", "aa")
    with lab.namespace("bb") as inside:
        assert _ask_name(inside, "aa") == [lab.address("aa", "web")]


def test_addresses(lab: Lab) -> None:
    lab(
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--ip-range",
        "10.77.0.128/30",
        "--aux-address",
        "x=10.77.0.130",
        "web",
    )
    lab("network", "create", "auto")
    for name, asked in (("aa", []), ("bb", ["--ip", "10.77.0.9"])):
        lab.run("--name", name, "--network", "web", *asked)
    assert [lab.address(name, "web") for name in ("aa", "bb")] == ["10.77.0.129", "10.77.0.9"]
    run = ["run", "--rm", "--network"]
    for words, code, said in (
        (["web", "--ip", "10.77.0.9"], 125, "Address already in use"),
        (["web", "--ip", "10.77.0.1"], 125, "Address already in use"),
        (["web"], 125, "network web has no free addresses left in 10.77.0.0/24"),
        (["web", "--ip", "10.78.0.9"], 125, "no configured subnet or ip-range contains the IP address"),
        (["auto", "--ip", "10.90.0.9"], 125, "only when connecting to networks with user configured subnets"),
        (["bridge", "--ip", "10.90.0.9"], 125, "supported on user defined networks only"),
        (["host", "--ip", "10.90.0.9"], 125, "supported on user defined networks only"),
        (["bridge", "--network-alias", "x"], 125, "network-scoped alias is supported only"),
        (["web", "--network-alias", "a b"], 125, "invalid network alias 'a b'"),
        (["web", "--network-alias", "a/../b"], 125, "invalid network alias"),
        (["nope"], 125, "network nope not found"),
        (["web", "--network", "host"], 125, "cannot attach both user-defined and non-user-defined"),
        (["web", "--network", "web"], 125, "network 'web' is specified multiple times"),
        (["auto", "--mac-address", "01:00:00:00:00:01"], 125, "is not a valid mac address"),
    ):  # fmt: skip
        found = lab.fails(*run, *words, IMAGE, "true")
        assert (found[0], said in found[1]) == (code, True), found
    assert lab("network", "inspect", "-f", "{{len .Containers}}", "web").out == "2\n"


def test_two_networks(lab: Lab) -> None:
    """The first one leads out; both are reached, and neither reaches the other."""
    lab("network", "create", "--internal", "back")
    lab("network", "create", "front")
    lab.run("--name", "app", "--network", "name=back,alias=store", "--network", "front", "-p", "8080:80")
    lab.run("--name", "db", "--network", "back")
    lab.run("--name", "lb", "--network", "front")
    with lab.serving("app", 80), lab.serving("db", 80), lab.serving("lb", 80):
        with lab.namespace("app") as app, server(lab.outside, OUTSIDE, 0) as port:
            assert ask(app, OUTSIDE, port) == f"server {MACHINE}"
            assert ask(app, lab.address("db", "back"), 80) == f"db {lab.address('app', 'back')}"
            assert ask(app, lab.address("lb", "front"), 80) == f"lb {lab.address('app', 'front')}"
            assert _ask_name(app, "db") == [lab.address("db", "back")]
            assert _ask_name(app, "lb") == [lab.address("lb", "front")]
        assert ask(lab.outside, MACHINE, 8080) == f"app {OUTSIDE}"
        with lab.namespace("db") as db, lab.namespace("lb") as lb, server(lab.outside, OUTSIDE, 0) as port:
            assert _ask_name(db, "store") == [lab.address("app", "back")]
            assert _ask_name(lb, "store") == 2
            assert not reaches(db, lab.address("lb", "front"), 80)
            assert not reaches(lb, lab.address("db", "back"), 80)
            assert not reaches(db, OUTSIDE, port)
            assert ask(lb, OUTSIDE, port) == f"server {MACHINE}"
    assert lab("ps", "--filter", "name=app", "--format", "{{.Networks}}").out == "back,front\n"


def test_join_and_leave(lab: Lab) -> None:
    """A container that runs, and one that does not."""
    lab("network", "create", "--subnet", "10.77.0.0/24", "web")
    lab.run("--name", "aa", "--network", "bridge", "-p", "8080:80")
    lab.run("--name", "bb", "--network", "web")
    lab("network", "connect", "--alias", "www", "--ip", "10.77.0.50", "web", "aa")
    assert lab.fails("network", "connect", "web", "aa") == (
        1, "nacre: endpoint with name aa already exists in network web\n",
    )  # fmt: skip
    assert lab.fails("network", "connect", "--ip", "10.77.0.50", "web", "nope")[0] == 1
    lab("network", "disconnect", "web", "aa")
    lab("rename", "aa", "new")
    lab("network", "connect", "web", "new")
    with lab.namespace("bb") as bb:  # by the name that it has now
        assert (_ask_name(bb, "new"), _ask_name(bb, "aa")) == (["10.77.0.3"], 2)
    lab("network", "disconnect", "web", "new")
    lab("rename", "new", "aa")
    lab("network", "connect", "--alias", "www", "--ip", "10.77.0.50", "web", "aa")
    with lab.serving("aa", 80), lab.namespace("bb") as bb:
        assert _ask_name(bb, "www") == ["10.77.0.50"]
        assert ask(bb, "10.77.0.50", 80) == "aa 10.77.0.2"
        lab("network", "disconnect", "bridge", "aa")
        assert ask(lab.outside, MACHINE, 8080) == f"aa {OUTSIDE}"
        lab("network", "disconnect", "web", "aa")
        assert _ask_name(bb, "www") == 2
        assert not reaches(bb, "10.77.0.50", 80)
        assert not reaches(lab.outside, MACHINE, 8080)
    assert lab.fails("network", "disconnect", "web", "aa")[1].endswith("is not connected to network web\n")
    lab("network", "connect", "web", "aa")
    lab("stop", "-t", "0", "aa")
    lab("network", "disconnect", "web", "aa")
    lab("network", "connect", "--ip", "10.77.0.60", "web", "aa")
    lab("start", "aa")
    assert lab.address("aa", "web") == "10.77.0.60"
    assert lab.fails("network", "connect", "--gw-priority", "1", "web", "bb")[0] == 1
    lab.run("--name", "cc", "--network", "none")
    for words in (["connect", "web", "cc"], ["connect", "host", "aa"], ["disconnect", "host", "aa"]):
        assert lab.fails("network", *words)[0] == 1
    lab("rm", "-f", "bb")
    assert 'network web has active endpoints (name:"aa"' in lab.fails("network", "rm", "web")[1]
    lab("stop", "-t", "0", "aa")
    lab("network", "rm", "web")
    assert lab.fails("start", "aa") == (1, "nacre: network web not found\n")
    lab("network", "disconnect", "-f", "web", "aa")
    lab("start", "aa")
    assert lab("exec", "aa", "ls", "/sys/class/net").lines == ["lo"]


def test_prune(lab: Lab) -> None:
    for name, label in (("aa", "x=1"), ("bb", "y=1"), ("cc", "y=2")):
        lab("network", "create", "--label", label, name)
    lab.run("--name", "c1", "--network", "bb")
    assert lab("network", "prune", "-f", "--filter", "label=x").lines == ["Deleted Networks:", "aa", ""]
    assert "WARNING! This will remove:" in lab("network", "prune").out
    assert lab("network", "prune", "-f", "--filter", "until=1h").out == ""
    assert lab("system", "prune", "-f").lines[:3] == ["Deleted Networks:", "cc", ""]
    lab("network", "create", "dd")
    assert lab("network", "prune", "-f").lines == ["Deleted Networks:", "dd", ""]
    assert lab("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}").lines == ["bb"]


def test_ipv6(lab: Lab) -> None:
    words = ["network", "create", "--ipv6", "--subnet", "fd00:77::/64", "six"]
    lab.forward(False, "ipv6/conf/all/forwarding")
    lab(*words)
    code, said = lab.fails("run", "--rm", "--network", "six", IMAGE, "true")
    assert (code, "this machine does not forward IPv6 packets" in said) == (125, True)
    lab.forward(True, "ipv6/conf/all/forwarding")
    lab.run("--name", "aa", "--network", "six", "-p", "8080:80")
    lab.run("--name", "bb", "--network", "six", "--ip6", "fd00:77::99")
    lab("network", "create", "--ipv6", "other")
    lab.run("--name", "cc", "--network", "other")
    assert lab.address("aa", "six", "GlobalIPv6Address") == "fd00:77::2"
    with lab.serving("aa", 80, host="::"), lab.namespace("bb") as bb, lab.namespace("cc") as cc:
        until(lambda: reaches(bb, "fd00:77::2", 80))
        assert ask(bb, "fd00:77::2", 80) == "aa fd00:77::99"
        assert ask(lab.outside, "2001:db8::1", 8080) == f"aa {OUTSIDE6}"
        assert ask(lab.machine, "::1", 8080).startswith("aa ::ffff:10.90.0.1")
        assert not reaches(cc, "fd00:77::2", 80)
        with server(lab.outside, OUTSIDE6, 0) as port:
            assert ask(bb, OUTSIDE6, port) == "server 2001:db8::1"
        assert _ask_name(bb, "aa", kind=28) == ["fd00:77::2"]


def test_networks_of_another_store_are_others(
    lab: Lab, nacre: Any, busybox_tar: bytes, tmp_path: Any
) -> None:
    """Two stores may have one subnet; each address is given once, and neither reaches the other."""
    from machine import remove

    second = type(nacre)(tmp_path / "second", tmp_path)
    second("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=busybox_tar)
    theirs = type(lab).__new__(type(lab))
    theirs.__dict__ |= lab.__dict__ | {"_nacre": second}
    lab.run("--name", "aa", "--network", "bridge")
    theirs.run("--name", "bb", "--network", "bridge")
    assert lab.address("aa") != theirs.address("bb")
    with theirs.serving("bb", 80), lab.namespace("aa") as inside:
        assert ask(lab.machine, theirs.address("bb"), 80)
        assert not reaches(inside, theirs.address("bb"), 80)
    theirs("rm", "-f", "bb")
    remove(tmp_path / "second")
