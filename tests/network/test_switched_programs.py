"""Programs as people use them, in containers of ordinary users; they are those of this machine."""

from __future__ import annotations

import glob
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from switchlab import BRIDGE, IMAGE, SwitchLab
from world import OUTSIDE

ASYNCIO = """
import asyncio, sys
async def main():
    reader, writer = await asyncio.open_connection("web.test", int(sys.argv[1]))
    writer.write(b"GET /page HTTP/1.0\\r\\n\\r\\n")
    print((await reader.read()).decode().split()[-1])
    server = await asyncio.start_server(lambda r, w: (w.write(b"own"), w.close()), "0.0.0.0", 8000)
    reader, _writer = await asyncio.open_connection("127.0.0.1", 8000)  # a writer that nobody has is closed
    print((await reader.read()).decode())
asyncio.run(main())
"""
NODE = """
const http = require('http'), net = require('net');
http.get(`http://web.test:${process.argv[1]}/page`, answer => answer.on('data', data => {
    console.log(data.toString().trim());
    const server = net.createServer(client => client.end('own')).listen(8000, () =>
        net.connect(8000, '127.0.0.1').on('data', data => { console.log(data.toString()); server.close(); }));
}));
"""
GO = """
package main
import ("io"; "net"; "os"; "strings")
func main() {
	web, err := net.Dial("tcp", "web.test:" + os.Args[1])
	if err != nil { panic(err) }
	web.Write([]byte("GET /page HTTP/1.0\\n\\n"))
	data, _ := io.ReadAll(web)
	words := strings.Fields(string(data))
	os.Stdout.WriteString(words[len(words)-1] + "\\n")
	server, err := net.Listen("tcp", ":8000")
	if err != nil { panic(err) }
	go func() { client, _ := server.Accept(); client.Write([]byte("own")); client.Close() }()
	own, err := net.Dial("tcp", "127.0.0.1:8000")
	if err != nil { panic(err) }
	data, _ = io.ReadAll(own)
	os.Stdout.WriteString(string(data) + "\\n")
}
"""
JAVA = """
import java.net.*; import java.nio.channels.*;
public class Main { public static void main(String[] words) throws Exception {
    URL page = new URL("http://web.test:" + words[0] + "/page");
    System.out.println(new String(page.openStream().readAllBytes()).trim());
    Selector selector = Selector.open();
    SocketChannel channel = SocketChannel.open();
    channel.configureBlocking(false);
    channel.register(selector, SelectionKey.OP_CONNECT);
    channel.connect(new InetSocketAddress("web.test", Integer.parseInt(words[0])));
    selector.select(20000);
    System.out.println(channel.finishConnect() ? "own" : "none");
} }
"""

MUSL = r"""
#include <netdb.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
int main(int count, char **words) {
    struct addrinfo wanted = {0}, *found;
    char text[4096], *last;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_ADDRCONFIG;
    if (getaddrinfo("web.test", words[1], &wanted, &found)) return 2;
    int web = socket(found->ai_family, found->ai_socktype, 0);
    if (connect(web, found->ai_addr, found->ai_addrlen)) return 3;
    write(web, "GET /page HTTP/1.0\r\n\r\n", 22);
    long size, all = 0;
    while ((size = read(web, text + all, sizeof text - 1 - all)) > 0) all += size;
    text[all] = 0;
    last = strstr(text, "\r\n\r\n");
    return last ? write(1, last + 4, strlen(last + 4)) < 0 : 4;
}
"""


@pytest.fixture
def fetch(user_lab: SwitchLab) -> Callable[..., list[str]]:
    """What a program of this machine prints in a container."""
    (user_lab.web / "page").write_text("page\n")

    def run(*words: str, options: tuple[str, ...] = ()) -> list[str]:
        program = shutil.which(words[0])
        if not program:
            pytest.skip(f"{words[0]} is not installed")
        named = (
            *BRIDGE,
            "--dns",
            OUTSIDE,
            *user_lab.programs,
            *options,
            "--entrypoint",
            os.path.realpath(program),
        )
        found: list[str] = user_lab.nacre("run", "--rm", *named, IMAGE, *words[1:]).lines
        return found

    return run


def test_curl(user_lab: SwitchLab, fetch: Callable[..., list[str]]) -> None:
    url = f"http://web.test:{user_lab.port('web')}/page"
    assert fetch("curl", "-sS", url, url) == ["page"] * 2


def test_asyncio(user_lab: SwitchLab, fetch: Callable[..., list[str]]) -> None:
    assert fetch(sys.executable, "-c", ASYNCIO, str(user_lab.port("web"))) == ["page", "own"]


def test_node(user_lab: SwitchLab, fetch: Callable[..., list[str]]) -> None:
    assert fetch("node", "-e", NODE, str(user_lab.port("web"))) == ["page", "own"]


def test_go(user_lab: SwitchLab, fetch: Callable[..., list[str]], tmp_path: Path) -> None:
    """A static program, which resolves names and connects without a C library."""
    go = shutil.which("go")
    if not go:
        pytest.skip("go is not installed")
    (tmp_path / "main.go").write_text(GO)
    environment = os.environ | {"CGO_ENABLED": "0", "GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"}
    subprocess.run([go, "build", "-o", "main", "main.go"], cwd=tmp_path, env=environment, check=True)
    options = "-v", f"{tmp_path}/main:{tmp_path}/main:ro"
    assert fetch(f"{tmp_path}/main", str(user_lab.port("web")), options=options) == ["page", "own"]


def test_musl(user_lab: SwitchLab, fetch: Callable[..., list[str]], tmp_path: Path) -> None:
    """The other C library, whose resolver asks for both kinds of addresses at once."""
    compiler = shutil.which("musl-gcc")
    if not compiler:
        pytest.skip("musl-gcc is not installed")
    (tmp_path / "main.c").write_text(MUSL)
    subprocess.run([compiler, "-static", "-o", "main", "main.c"], cwd=tmp_path, check=True)
    options = "-v", f"{tmp_path}/main:{tmp_path}/main:ro"
    assert fetch(f"{tmp_path}/main", str(user_lab.port("web")), options=options) == ["page"]


def test_java(user_lab: SwitchLab, fetch: Callable[..., list[str]], tmp_path: Path) -> None:
    """With a selector that knows the channel before it connects."""
    java = shutil.which("java")
    if not java or not shutil.which("javac"):
        pytest.skip("no Java development kit is installed")
    (tmp_path / "Main.java").write_text(JAVA)
    settings = [word for each in glob.glob("/etc/java*") for word in ("-v", f"{each}:{each}:ro")]
    options = *settings, "-v", f"{tmp_path}/Main.java:/Main.java:ro"
    assert fetch("java", "/Main.java", str(user_lab.port("web")), options=options) == ["page", "own"]


def test_apt(user_lab: SwitchLab, fetch: Callable[..., list[str]], tmp_path: Path) -> None:
    (user_lab.web / "Packages").write_text("Package: x\nVersion: 1\nArchitecture: all\nFilename: x.deb\n\n")
    source = tmp_path / "sources.list"
    source.write_text(f"deb [trusted=yes] http://web.test:{user_lab.port('web')} ./\n")
    folders = [f"{path}:mode=755" for path in ("/var/lib/apt", "/var/cache/apt", "/var/lib/dpkg", "/tmp")]
    script = (
        "mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial; touch /var/lib/dpkg/status;"
        "apt-get -qq -o APT::Sandbox::User=root update && apt-cache show x | head -1"
    )
    if not shutil.which("apt-get"):
        pytest.skip("apt-get is not installed")
    options = [word for each in folders for word in ("--tmpfs", each)]
    options += ["-v", f"{source}:/etc/apt/sources.list:ro", "-e", "PATH=/usr/bin:/bin"]
    assert fetch("sh", "-c", script, options=tuple(options))[-1] == "Package: x"


def test_pip(user_lab: SwitchLab, fetch: Callable[..., list[str]]) -> None:
    if subprocess.run(
        [sys.executable, "-m", "pip", "--version"], check=False, capture_output=True
    ).returncode:
        pytest.skip("pip is not installed")
    (user_lab.web / "x-1-py3-none-any.whl").write_bytes(_wheel())
    links = f"http://web.test:{user_lab.port('web')}/"
    words = "-m", "pip", "download", "-q", "--no-index", "--find-links", links, "--trusted-host", "web.test"
    folder = Path(sys.prefix)
    options = ["--tmpfs", "/tmp", "-v", f"{folder}:{folder}:ro", "-w", "/tmp", "-e", f"PYTHONPATH={_site()}"]
    if os.path.isdir("/etc/ssl/certs"):  # Debian's pip looks there
        options += ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    assert fetch(sys.executable, *words, "--disable-pip-version-check", "x", options=tuple(options)) == []


def _site() -> str:
    import sysconfig

    return sysconfig.get_path("purelib")


def _wheel() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as wheel:
        wheel.writestr("x.py", "")
        wheel.writestr("x-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n")
        wheel.writestr(
            "x-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("x-1.dist-info/RECORD", "")
    return out.getvalue()
