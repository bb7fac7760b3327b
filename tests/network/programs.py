"""Programs of this machine in containers, which see its /usr, and a web server of it in another one."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from lab import Lab, listens
from waiting import until

IMAGE = "programs:1"
PATH = "/usr/local/bin:/usr/bin:/usr/sbin"
SERVER, PORT = "repo", 8000
HELLO = "hello from the other container\n"

FETCH_C = r"""
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[4096];
    int failed = getaddrinfo(argv[1], argv[2], &hints, &found);
    if (failed) { fprintf(stderr, "%s\n", gai_strerror(failed)); return 1; }
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(fd, found->ai_addr, found->ai_addrlen)) { perror("connect"); return 1; }
    const char *asked = "GET /hello HTTP/1.0\r\n\r\n";
    write(fd, asked, strlen(asked));
    for (ssize_t n; (n = read(fd, text, sizeof text)) > 0;) write(1, text, n);
    return 0;
}
"""
FETCH_GO = r"""
package main
import ("fmt"; "io"; "net"; "net/http"; "os")
func main() {
    if os.Args[1] == "serve" {
        http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "go serves") })
        panic(http.ListenAndServe(":80", nil))
    }
    found, err := net.LookupHost(os.Args[1])
    if err != nil { panic(err) }
    answer, err := http.Get("http://" + os.Args[1] + ":" + os.Args[2] + "/hello")
    if err != nil { panic(err) }
    text, _ := io.ReadAll(answer.Body)
    fmt.Print(found, string(text))
}
"""
FETCH_JAVA = r"""
import java.net.*;
public class Fetch {
    public static void main(String[] args) throws Exception {
        System.out.print(InetAddress.getByName(args[0]).getHostAddress());
        URL url = new URL("http://" + args[0] + ":" + args[1] + "/hello");
        System.out.print(new String(url.openStream().readAllBytes()));
    }
}
"""
FETCH_JS = r"""
const [name, port] = process.argv.slice(1);
const dns = require("dns").promises;
(async () => {
    const looked = await dns.lookup(name), asked = await dns.resolve4(name);
    const text = await (await fetch(`http://${name}:${port}/hello`)).text();
    process.stdout.write(looked.address + asked[0] + text);
})();
"""
FETCH_PY = r"""
import asyncio, sys
async def fetch(number):
    reader, writer = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    writer.write(b"GET /hello HTTP/1.0\r\n\r\n")
    text = await reader.read()
    writer.close()
    return text.partition(b"\r\n\r\n")[2].decode()
async def main():
    texts = await asyncio.gather(*map(fetch, range(5)))
    assert len(set(texts)) == 1
    print(texts[0], end="")
asyncio.run(main())
"""
SERVE_PY = r"""
import asyncio
async def answer(reader, writer):
    await reader.read(10)
    writer.write(b"asyncio serves")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, ["0.0.0.0"], 80, backlog=512)
    await server.serve_forever()
asyncio.run(main())
"""
SERVE_JS = 'require("http").createServer((_, r) => r.end("node serves")).listen(80)'


class Programs:
    """The lab, an image that shows this machine's programs, and a network `shop` with a web server in it."""

    def __init__(self, lab: Lab, nacre: Any, folder: Path) -> None:
        self.lab, self.folder, self.www = lab, folder, folder / "www"
        nacre("import", "--change", f"ENV PATH={PATH}", "-", IMAGE, input=_root())
        self.www.mkdir()
        (self.www / "hello").write_text(HELLO)
        lab("network", "create", "shop")

    def __call__(self, *command: str, network: str = "shop", options: tuple[str, ...] = ()) -> str:
        """What a program prints."""
        return str(self.lab(*self.words("--rm", "--network", network, *options), *command).out)

    def words(self, *options: str) -> tuple[str, ...]:
        """`run` with this machine's programs, and the folder of the test at /work."""
        shown = ("/usr", sys.prefix, sys.base_prefix, *map(str, Path("/etc").glob("java*")))
        places = [text for text in dict.fromkeys((*shown, "/etc/alternatives")) if os.path.isdir(text)]
        mounts = [f"--volume={place}:{place}:ro" for place in places]
        return "run", *options, *mounts, f"--volume={self.folder}:/work", "-w", "/tmp", IMAGE

    def serve(self) -> None:
        """The web server, once it listens."""
        command = ("python3", "-m", "http.server", str(PORT), "--directory", "/work/www")
        self.start(SERVER, "shop", *command, port=PORT)

    def start(self, name: str, network: str, *command: str, port: int, options: tuple[str, ...] = ()) -> None:
        """A server in the background, once it listens."""
        self.lab(*self.words("-d", "--name", name, "--network", network, *options), *command)
        address = self.lab.address(name, network)
        until(lambda: listens(self.lab.machine, address, port) or not self._runs(name))
        assert self._runs(name), self.lab("logs", name)

    def _runs(self, name: str) -> bool:
        return bool(self.lab("ps", "-q", "--filter", f"name={name}").out)

    def built(self, source: str, name: str, *command: str) -> str:
        """A program made from a source, as containers see it."""
        (self.folder / name).write_text(source)
        subprocess.run([*command, str(self.folder / name)], check=True, capture_output=True)
        return "/work/fetch"


def needs_tools(*names: str) -> None:
    """Skip unless programs are in the /usr that containers are shown."""
    for name in names:
        if not shutil.which(name, path=PATH):
            pytest.skip(f"{name} is not in /usr")


def _root() -> bytes:
    """A root file system whose /usr is to be mounted."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("etc", "usr", "work", "root", "var/lib/dpkg", "tmp"):
            _entry(tar, name, tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755)
        for name in ("bin", "sbin", "lib", "lib64"):
            _entry(tar, name, tarfile.SYMTYPE, 0o777, link=f"usr/{name}")
        _entry(tar, "etc/passwd", tarfile.REGTYPE, 0o644, b"root:x:0:0::/root:/bin/sh\n_apt:x:42:65534::/:\n")
        _entry(tar, "etc/nsswitch.conf", tarfile.REGTYPE, 0o644, b"hosts: files dns\n")
        _entry(tar, "var/lib/dpkg/status", tarfile.REGTYPE, 0o644)
    return out.getvalue()


def _entry(
    tar: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", link: str = ""
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
    tar.addfile(info, io.BytesIO(data))
