"""Real programs on a network of their own: clients, servers, resolvers of glibc, musl, Go, Java and Node."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import MACHINE, MACHINE6, OUTSIDE, Lab, listens, make, pour, server
from programs import (
    FETCH_C,
    FETCH_GO,
    FETCH_JAVA,
    FETCH_JS,
    FETCH_PY,
    HELLO,
    PORT,
    SERVE_JS,
    SERVE_PY,
    SERVER,
    Programs,
    needs_tools,
)
from waiting import until

from nacre.grammars import dns
from nacre.ground.network import links, namespaces
from nacre.ground.network.netlink import ROUTE, Message, Netlink, attribute
from nacre.words.addresses import packed

WHERE = (SERVER, str(PORT))
CONNECTIONS = 400


@pytest.fixture
def programs(lab: Lab, nacre: Any, tmp_path: Path) -> Programs:
    if not os.path.islink("/bin") or sys.platform != "linux":
        pytest.skip("programs of this machine are not all in /usr")
    folder = tmp_path / "work"
    folder.mkdir(mode=0o755)
    return Programs(lab, nacre, folder)


def test_curl(programs: Programs) -> None:
    needs_tools("curl", "python3")
    programs.serve()
    big = os.urandom(1 << 16) * 200
    (programs.www / "big").write_bytes(big)
    assert programs("curl", "-sSf", f"http://{SERVER}:{PORT}/hello") == HELLO
    fetched = programs("sh", "-c", f"curl -sSf http://{SERVER}:{PORT}/big | sha256sum")
    assert fetched.split()[0] == hashlib.sha256(big).hexdigest()
    assert programs("curl", "-sSf", f"http://{programs.lab.address(SERVER, 'shop')}:{PORT}/hello") == HELLO


def test_names_by_glibc(programs: Programs) -> None:
    needs_tools("getent", "python3")
    programs.serve()
    address = programs.lab.address(SERVER, "shop")
    assert programs("getent", "ahosts", SERVER).split()[:2] == [address, "STREAM"]
    assert programs("getent", "hosts", address).split() == [address, f"{SERVER}.shop"]


def test_names_by_musl(programs: Programs) -> None:
    needs_tools("musl-gcc", "python3")
    programs.serve()
    fetch = programs.built(FETCH_C, "fetch.c", "musl-gcc", "-static", "-o", str(programs.folder / "fetch"))
    assert programs(fetch, *WHERE).endswith(HELLO)


def test_a_static_program_of_go(programs: Programs) -> None:
    """Its resolver is its own; and it serves."""
    needs_tools("python3")
    if not shutil.which("go"):
        pytest.skip("go is not installed")
    programs.serve()
    (programs.folder / "fetch.go").write_text(FETCH_GO)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    target, source = str(programs.folder / "fetch"), str(programs.folder / "fetch.go")
    subprocess.run(["go", "build", "-o", target, source], check=True, env=environment, capture_output=True)
    assert programs("/work/fetch", *WHERE) == f"[{programs.lab.address(SERVER, 'shop')}]{HELLO}"
    _serves(programs, "/work/fetch", "serve", said="go serves")


def test_java(programs: Programs) -> None:
    needs_tools("java", "python3")
    listed = subprocess.run(["java", "--list-modules"], capture_output=True, text=True).stdout
    if "jdk.compiler" not in listed:
        pytest.skip("java cannot compile")
    programs.serve()
    (programs.folder / "Fetch.java").write_text(FETCH_JAVA)
    fetched = programs("java", "-XX:TieredStopAtLevel=1", "/work/Fetch.java", *WHERE)
    assert fetched == f"{programs.lab.address(SERVER, 'shop')}{HELLO}"


def test_node(programs: Programs) -> None:
    needs_tools("node", "python3")
    programs.serve()
    address = programs.lab.address(SERVER, "shop")
    assert programs("node", "-e", FETCH_JS, *WHERE) == f"{address}{address}{HELLO}"
    _serves(programs, "node", "-e", SERVE_JS, said="node serves")


def test_asyncio(programs: Programs) -> None:
    needs_tools("python3")
    programs.serve()
    assert programs("python3", "-c", FETCH_PY, *WHERE) == HELLO
    _serves(programs, "python3", "-c", SERVE_PY, said="asyncio serves")


def _serves(programs: Programs, *command: str, said: str) -> None:
    """What listens in a container is reached at its published port: from outside, from here, and by IPv6."""
    programs.start("web", "bridge", *command, port=80, options=("-p", "8080:80"))
    lab = programs.lab
    for fd, host in (
        (lab.outside, MACHINE), (lab.machine, MACHINE), (lab.machine, "127.0.0.1"), (lab.machine, "::1"),
        (lab.outside, MACHINE6),
    ):  # fmt: skip
        assert said in _got(fd, host, 8080), host


def _got(fd: int, host: str, port: int) -> str:
    with make(fd, host, "tcp") as client:
        client.settimeout(60)
        client.connect((host, port))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        found = b""
        while piece := client.recv(65536):
            found += piece
    return found.decode()


def test_pip(programs: Programs) -> None:
    needs_tools("python3")
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("pip is not installed")
    programs.serve()
    folder = programs.www / "simple" / "demo"
    folder.mkdir(parents=True)
    name = "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr("demo.py", "")
        meta = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
        wheel.writestr("demo-1.0.dist-info/METADATA", meta)
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    (folder / "index.html").write_text(f'<a href="{name}">{name}</a>')
    where = ("--index-url", f"http://{SERVER}:{PORT}/simple/", "--trusted-host", SERVER)
    quiet = ("--isolated", "--disable-pip-version-check", "--no-deps", "--no-cache-dir")
    words = (sys.executable, "-m", "pip", "download", *quiet, *where, "-d", "/work/got", "demo")
    assert "Successfully downloaded demo" in programs(*words)
    assert (programs.folder / "got" / name).stat().st_size


def test_apt(programs: Programs) -> None:
    """Of a repository in another container; what fetches runs as a user of its own."""
    needs_tools("apt-get", "dpkg-deb", "python3")
    if not os.path.exists("/usr/lib/apt/methods/http"):
        pytest.skip("apt cannot fetch by http")
    programs.serve()
    package = programs.folder / "demo" / "DEBIAN"
    package.mkdir(parents=True)
    about = "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
    (package / "control").write_text(f"{about}Description: a demo\n")
    archive = programs.www / "demo.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(package.parent), str(archive)],
        check=True, capture_output=True,
    )  # fmt: skip
    data = archive.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    listed = f"{about}Filename: ./demo.deb\nSize: {len(data)}\nSHA256: {digest}\nDescription: a demo\n"
    (programs.www / "Packages").write_text(listed)
    script = f"""
        mkdir -p /etc/apt/apt.conf.d /etc/apt/preferences.d /var/lib/apt/lists/partial
        mkdir -p /var/cache/apt/archives/partial /var/log/apt
        echo "deb [trusted=yes] http://{SERVER}:{PORT} ./" > /etc/apt/sources.list
        apt-get update && apt-get install -y --download-only demo && sha256sum /var/cache/apt/archives/*.deb
    """
    assert digest in programs("sh", "-ec", script)


def test_a_name_server_elsewhere(programs: Programs) -> None:
    """In the network `bridge` programs ask the servers themselves, out of the container."""
    needs_tools("getent")
    with _name_server(programs.lab), server(programs.lab.outside, OUTSIDE, 0) as port:
        words = ("--dns", OUTSIDE)
        found = programs("getent", "ahosts", "far.example.org", network="bridge", options=words)
        assert found.split()[:2] == [OUTSIDE, "STREAM"]
        assert port
        if shutil.which("musl-gcc"):
            target = str(programs.folder / "fetch")
            fetch = programs.built(FETCH_C, "fetch.c", "musl-gcc", "-static", "-o", target)
            asked = programs(fetch, "far.example.org", str(port), network="bridge", options=words)
            assert asked == f"server {MACHINE}"


@contextmanager
def _name_server(lab: Lab) -> Iterator[None]:
    """Outside: every name has the address of the outside, and no IPv6."""
    ended = threading.Event()
    with make(lab.outside, OUTSIDE, "udp") as udp:
        udp.bind((OUTSIDE, 53))
        thread = threading.Thread(target=_serve_names, args=(udp, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _serve_names(udp: socket.socket, ended: threading.Event) -> None:
    udp.settimeout(0.05)
    while not ended.is_set():
        try:
            query, client = udp.recvfrom(2000)
        except OSError:
            continue
        question = dns.read_question(query)
        records = [packed(OUTSIDE)] if question.kind == dns.A else []
        udp.sendto(dns.answer(query, question, records), client)


def test_many_connections_at_once(programs: Programs) -> None:
    """By the rules of the firewall, and by hand over loopback; all of them are open at the same time."""
    needs_tools("python3")
    programs.start("web", "bridge", "python3", "-c", SERVE_PY, port=80, options=("-p", "8080:80"))
    for fd, host in ((programs.lab.outside, MACHINE), (programs.lab.machine, "127.0.0.1")):
        clients = [make(fd, host, "tcp") for _ in range(CONNECTIONS)]
        try:
            for client in clients:
                client.settimeout(60)
                client.connect((host, 8080))
            for client in clients:
                client.sendall(b"?")
            assert {client.recv(100) for client in clients} == {b"asyncio serves"}
        finally:
            for client in clients:
                client.close()


def test_datagrams_larger_than_a_packet(lab: Lab) -> None:
    """They come in pieces, out of a container and in by a published port."""
    lab.run("--name", "c1", "--network", "bridge", "-p", "5000:53/udp")
    data = os.urandom(8000)
    with lab.namespace("c1") as inside, make(inside, "0.0.0.0", "udp") as served:
        served.bind(("0.0.0.0", 53))
        served.settimeout(60)
        for fd, host in ((lab.outside, MACHINE), (lab.machine, "127.0.0.1"), (lab.outside, MACHINE6)):
            with make(fd, host, "udp") as client:
                client.settimeout(60)
                client.connect((host, 5000))
                client.send(data)
                got, who = served.recvfrom(9000)
                served.sendto(got[::-1], who)
                assert client.recv(9000) == data[::-1], host


def test_a_narrow_way_out(lab: Lab) -> None:
    """A link with smaller packets than the container's: it is told, and sends smaller ones."""
    for fd in (lab.machine, lab.outside):
        with namespaces.InsideNamespace(fd), Netlink(ROUTE) as netlink:
            index = links.index(netlink, "up0")
            _set_mtu(netlink, index, 1280)
    lab.run("--name", "c1", "--network", "bridge", "-p", "8080:80")
    size = 1 << 20
    with lab.namespace("c1") as inside, make(lab.outside, OUTSIDE, "tcp") as listening:
        listening.bind((OUTSIDE, 0))
        listening.listen()
        with make(inside, OUTSIDE, "tcp") as client:
            client.settimeout(60)
            client.connect(listening.getsockname())
            served, _ = listening.accept()
            with served:
                served.settimeout(60)
                pour(client, served, size)
                pour(served, client, size)


def _set_mtu(netlink: Netlink, index: int, mtu: int) -> None:
    body = struct.pack("=BxHiII", 0, 0, index, 0, 0) + attribute(4, struct.pack("=I", mtu))
    netlink.send([Message(16, 0, body, "set the size of packets")])


def test_the_size_of_packets_is_the_networks(lab: Lab) -> None:
    lab("network", "create", "-o", "com.docker.network.driver.mtu=1400", "small")
    for network, mtu in (("small", "1400"), ("bridge", "1500")):
        lab.run("--name", network, "--network", network)
        assert lab("exec", network, "cat", "/sys/class/net/eth0/mtu").out.strip() == mtu


def test_busybox_as_client_and_server(lab: Lab) -> None:
    """The applets of the image itself."""
    lab("network", "create", "shop")
    script = "echo hello > /srv/index.html; exec httpd -f -p 80 -h /srv"
    words = ["--name", "web", "--network", "shop", "-p", "8080:80"]
    lab("run", "-d", *words, "busybox:test", "sh", "-c", script)
    until(lambda: listens(lab.machine, lab.address("web", "shop"), 80))
    fetched = lab("run", "--rm", "--network", "shop", "busybox:test", "wget", "-qO-", "http://web/")
    assert fetched.out == "hello\n"
    assert "hello" in _got(lab.outside, MACHINE, 8080)
