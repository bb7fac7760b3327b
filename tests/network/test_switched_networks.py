"""Networks and published ports of ordinary users."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from switchlab import BRIDGE, IMAGE, SwitchLab
from world import OUTSIDE, OUTSIDE6

SERVE = "echo {} > /srv/index.html; exec httpd -f -p {} -h /srv"
ASK = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[3] == "udp" else socket.SOCK_STREAM
made = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, kind)
made.settimeout(60)
try:
    made.connect((sys.argv[1], int(sys.argv[2])))
    made.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
    data = b""
    while not (data and kind == socket.SOCK_DGRAM) and (piece := made.recv(65536)):
        data += piece
    print((data.decode().split() or ["nothing"])[-1])
except OSError as error:
    print(type(error).__name__)
"""


def ask(user_lab: SwitchLab, host: str, port: int, kind: str = "tcp") -> str:
    """What the machine gets from a port."""
    words = user_lab.world.command([sys.executable, "-c", ASK, host, str(port), kind])
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def serve(user_lab: SwitchLab, name: str, *options: str, port: int = 80) -> None:
    user_lab.nacre("run", "-d", "--name", name, *options, IMAGE, "sh", "-c", SERVE.format(name, port))
    user_lab.answers(name, port)


def test_published(user_lab: SwitchLab) -> None:
    """To the addresses that were asked for, and no others."""
    serve(user_lab, "web", *BRIDGE, "-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", f"{OUTSIDE}:8082:80")
    for host in ("127.0.0.1", "::1", OUTSIDE, OUTSIDE6):
        assert ask(user_lab, host, 8080) == "web"
    assert [ask(user_lab, host, 8081) for host in ("127.0.0.1", OUTSIDE)] == ["web", "ConnectionRefusedError"]
    assert [ask(user_lab, host, 8082) for host in ("127.0.0.1", OUTSIDE)] == ["ConnectionRefusedError", "web"]
    assert user_lab.nacre("port", "web", "80").lines == [
        "0.0.0.0:8080", "[::]:8080", "127.0.0.1:8081", f"{OUTSIDE}:8082",
    ]  # fmt: skip
    assert "0.0.0.0:8080->80/tcp" in user_lab.nacre("ps").out


ECHO = """
import socket
made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
made.bind(("::", 53))
while True:
    data, client = made.recvfrom(65536)
    made.sendto(f"{client[0].removeprefix('::ffff:')} {client[1]} {len(data)}".encode(), client)
"""
VISIT = """
import json, socket, sys
found = []
PLACES = [(host, 5353) for host in ("127.0.0.1", "192.0.2.9", "::1", "2001:db8::9")]
for host, port in (*PLACES, ("127.0.0.1", 5354)):
    for turn in range(2):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.settimeout(60)
            made.bind((host, 4000))
            made.connect((host, port))
            made.send(bytes(60000))
            who, number, size = made.recv(99).decode().split()
            found.append([host, who, int(number), int(size)])
print(json.dumps(found))
"""


@pytest.mark.parametrize("six", [False, True])
def test_published_datagrams(user_lab: SwitchLab, six: bool) -> None:
    """The program sees who sends them: not the loopback of this machine, for which the gateway stands."""
    user_lab.nacre("network", "create", "--internal", "back")
    if six:
        user_lab.nacre("network", "create", "--subnet", "10.77.0.0/24", "--subnet", "fd00:9::/64", "shop")
    else:
        user_lab.nacre("network", "create", "--subnet", "10.77.0.0/24", "shop")
    networks = "--network", "back", "--network", "shop", "-p", "5353:53/udp", "-p", "127.0.0.1:5354:53/udp"
    user_lab.nacre("run", "-d", "--name", "dns", *networks, *user_lab.python, IMAGE, "-c", ECHO)
    user_lab.until(
        lambda: ":0035 " in user_lab.nacre("exec", "dns", "/bin/busybox", "cat", "/proc/net/udp6").out
    )
    said = subprocess.run(
        user_lab.world.command([sys.executable, "-c", VISIT]), capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)
    assert {size for *_, size in found} == {60000}
    gateway6 = "fd00:9::1" if six else "10.77.0.1"
    assert [(host, who) for host, who, *_ in found[::2]] == [
        ("127.0.0.1", "10.77.0.1"), (OUTSIDE, OUTSIDE), ("::1", gateway6),
        (OUTSIDE6, OUTSIDE6 if six else "10.77.0.1"), ("127.0.0.1", "10.77.0.1"),
    ]  # fmt: skip
    assert found[::2] == found[1::2]
    seen = [(who, number) for _, who, number, _ in found[::2]]
    assert len(set(seen)) == len(seen)
    assert seen[:2] == [("10.77.0.1", 4000), (OUTSIDE, 4000)]


def test_a_taken_port_starts_nothing(user_lab: SwitchLab) -> None:
    serve(user_lab, "web", *BRIDGE, "-p", "127.0.0.1:8080:80")
    second = user_lab.nacre(
        "run", "-d", "--name", "two", *BRIDGE, "-p", "8080:80", IMAGE, "true", check=False
    )
    assert second.code == 125
    assert "failed to bind host port 0.0.0.0:8080/tcp: address already in use" in second.err
    secret = str(user_lab.port("secret"))
    third = user_lab.nacre("run", *BRIDGE, "-p", f"127.0.0.1:{secret}:80", IMAGE, "true", check=False)
    assert third.code == 125


def test_inspect(user_lab: SwitchLab) -> None:
    serve(user_lab, "web", *BRIDGE, "-p", "127.0.0.1:8081:80")
    found = user_lab.nacre("inspect", "web").json[0]["NetworkSettings"]
    assert found["Ports"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}]}
    assert found["Networks"]["bridge"]["IPAddress"] == "10.90.0.2"


def test_containers_know_each_other(user_lab: SwitchLab) -> None:
    user_lab.nacre("network", "create", "shop")
    serve(user_lab, "db", "--network", "shop", "--network-alias", "store")
    script = "wget -qO- http://db/; wget -qO- http://store.shop/; wget -qO- http://db:81/"
    said = user_lab.nacre("run", "--rm", "--network", "shop", IMAGE, "sh", "-c", script, check=False)
    assert said.lines == ["db", "db"]
    assert "Connection refused" in said.err


def test_a_server_sees_who_asks(user_lab: SwitchLab) -> None:
    user_lab.nacre("network", "create", "shop")
    listen = "import socket; s = socket.create_server(('', 80)); print(s.accept()[1][0], flush=True)"
    user_lab.nacre("run", "-d", "--name", "db", "--network", "shop", *user_lab.python, IMAGE, "-c", listen)
    user_lab.answers("db", 80)
    user_lab.nacre("run", "--rm", "--network", "shop", IMAGE, "nc", "db", "80")
    assert user_lab.nacre("wait", "db").out == "0\n"
    assert user_lab.nacre("logs", "db").lines == ["10.90.0.3"]


def test_isolation(user_lab: SwitchLab) -> None:
    """A neighbour of another network is not reached, nor does a socket lead to a neighbour's loopback."""
    for name in ("one", "two"):
        user_lab.nacre("network", "create", name)
    serve(user_lab, "db", "--network", "one")
    address = _address(user_lab, "db", "one")
    script = f"nslookup db; wget -qO- http://{address}/"
    said = user_lab.nacre("run", "--rm", "--network", "two", IMAGE, "sh", "-c", script, check=False)
    assert "unreachable" in said.err
    assert address not in said.out
    found = user_lab.inside(
        "after_unspecified", address, 80, user_lab.port("secret"), options=("--network", "one")
    )
    assert [found[way] for way in ("sendto", "connect", "listen connected", "bind connected")] == [
        "ENOTSUP", "ECONNREFUSED", "EINVAL", "EINVAL",
    ]  # fmt: skip


CABLE = """
from nacre.ground.network import links, namespaces
from nacre.ground.network.netlink import ROUTE, Netlink
with Netlink(ROUTE) as netlink:
    netlink.send([links.pair("up0", "up1", namespaces.current())])
    for name in ("up0", "up1"):
        netlink.send([links.up(links.index(netlink, name))])
    index = links.index(netlink, "up0")
    netlink.send([links.address(index, bytes([198, 51, 100, 2]), 24)])
    netlink.send([links.route(index, bytes(4), 0, bytes([198, 51, 100, 1]))])
"""


def has_device(user_lab: SwitchLab) -> bool:
    words = user_lab.world.command([sys.executable, "-c", "open('/dev/net/tun', 'r+b', 0)"])
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("program", ["pasta", "slirp4netns"])
def test_another_program_as_the_network(user_lab: SwitchLab, program: str) -> None:
    """Where its device can be opened; it ends with the keeper."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    if not has_device(user_lab):
        said = user_lab.nacre("run", "--rm", "--network", program, IMAGE, "true", check=False).err
        assert said.startswith(f"nacre: {program} needs /dev/net/tun, which cannot be opened: ")
        pytest.skip("/dev/net/tun cannot be opened")
    subprocess.run(user_lab.world.command([sys.executable, "-c", CABLE]), check=True)
    serve(user_lab, "web", "--network", program, "-p", "127.0.0.1:8080:80")
    assert ask(user_lab, "127.0.0.1", 8080) == "web"
    user_lab.kill_keeper("web")
    user_lab.until(lambda: ask(user_lab, "127.0.0.1", 8080) == "ConnectionRefusedError")


def test_internal(user_lab: SwitchLab) -> None:
    user_lab.nacre("network", "create", "--internal", "back")
    serve(user_lab, "db", "--network", "back", "-p", "8080:80")
    assert ask(user_lab, OUTSIDE, 8080) != "db"
    script = f"wget -qO- http://db/; wget -qO- http://{OUTSIDE}:{user_lab.port('outside')}/"
    said = user_lab.nacre("run", "--rm", "--network", "back", IMAGE, "sh", "-c", script, check=False)
    assert said.lines == ["db"]
    assert "Network is unreachable" in said.err


def test_connect_and_disconnect(user_lab: SwitchLab) -> None:
    for name in ("one", "two"):
        user_lab.nacre("network", "create", "--subnet", f"10.7{len(name)}.{ord(name[0])}.0/24", name)
    serve(user_lab, "db", "--network", "one", "--ip", "10.73.111.9")
    user_lab.nacre("network", "connect", "--alias", "store", "--ip", "10.73.116.77", "two", "db")
    words = "run", "--rm", "--network", "two", IMAGE, "wget", "-qO-", "http://store/"
    assert user_lab.nacre(*words).lines == ["db"]
    assert user_lab.nacre("network", "inspect", "two").json[0]["Containers"]
    user_lab.nacre("network", "disconnect", "two", "db")
    assert user_lab.nacre(*words, check=False).code != 0
    taken = user_lab.nacre(
        "run", "--rm", "--network", "one", "--ip", "10.73.111.9", IMAGE, "true", check=False
    )
    assert "Address already in use: 10.73.111.9" in taken.err


def test_nothing_is_left(user_lab: SwitchLab) -> None:
    """After the end of a container, and after its keeper was killed."""
    user_lab.nacre("network", "create", "shop")
    serve(user_lab, "db", "--network", "shop", "-p", "8080:80")
    before = user_lab.world.seen()["listening"]
    user_lab.kill_keeper("db")
    user_lab.until(lambda: user_lab.world.seen()["listening"] == [port for port in before if port != 8080])
    assert user_lab.nacre("ps", "-a", "--format", "{{.Status}}").out.startswith("Exited (137)")
    assert user_lab.nacre("network", "rm", "shop").out == "shop\n"


def test_names_of_this_machine_and_neighbours(user_lab: SwitchLab) -> None:
    user_lab.nacre("network", "create", "shop")
    words = "run", "--rm", "--network", "shop", "--add-host", "up:host-gateway", "-h", "me"
    hosts = user_lab.nacre(*words, IMAGE, "cat", "/etc/hosts", "/etc/resolv.conf").out
    assert "10.90.0.2\tme\n" in hosts
    assert "nameserver 127.0.0.11\n" in hosts
    found = user_lab.inside("resolved", "me", options=("--network", "shop", "-h", "me"))
    assert found == ["10.90.0.2"]


@pytest.mark.parametrize("network", ["bridge", "shop"])
def test_other_runtimes(user_lab: SwitchLab, network: str, peer: Callable[..., None]) -> None:
    """The runtime is filtered before it begins: what listens on the machine is closed to its programs."""
    peer("runc")
    if network == "shop":
        user_lab.nacre("network", "create", "shop")
    before = user_lab.secrets()
    words = "run", "--rm", "--runtime", "runc", "--network", network, IMAGE, "nc"
    assert user_lab.nacre(*words, OUTSIDE, str(user_lab.port("outside"))).out == f"outside {OUTSIDE}\n"
    for way in ("127.0.0.1", "0.0.0.0"):
        assert user_lab.nacre(*words, way, str(user_lab.port("secret")), check=False).code == 1
    assert user_lab.secrets() == before


def _address(user_lab: SwitchLab, container: str, network: str) -> Any:
    return user_lab.nacre("inspect", container).json[0]["NetworkSettings"]["Networks"][network]["IPAddress"]


def test_where_no_namespaces_are_permitted(user_lab: SwitchLab, busybox_tar: bytes) -> None:
    """As in a pod: `bridge` is the network of the machine, which is said; others are refused."""
    helper = Path(__file__).parents[1] / "containers/confined.py"
    nacre, own = user_lab.nacre, user_lab.nacre.command
    nacre.root = nacre.root.with_name("confined")

    def command(*words: str) -> list[str]:
        whole = own(*words)
        start = whole.index("--") + 1
        return [*whole[:start], sys.executable, str(helper), *whole[start:]]

    nacre.command = command
    nacre("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=busybox_tar)
    script = f"wget -qO- http://{OUTSIDE}:1/"
    done = nacre("run", "--rm", *BRIDGE, "-p", "8080:80", IMAGE, "sh", "-c", script, check=False)
    said = "WARNING: no namespaces are permitted here: the container shares the network of this machine\n"
    assert done.err.count(said) == 1
    assert "WARNING: Published ports are discarded when using host network mode" in done.err
    assert "Connection refused" in done.err
    nacre("network", "create", "shop")
    done = nacre("run", "--rm", "--network", "shop", IMAGE, "true", check=False)
    assert "networks of containers need namespaces, which are not permitted here" in done.err
