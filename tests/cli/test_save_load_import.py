"""`nacre save`, `load` and `import`, as a user types them."""

from __future__ import annotations

import gzip
import os
import pty
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selfsigned import certificate, speak_tls
from tarkit import tar_of

Nacre = Any
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


TAR = tar_of(hello=b"world")


@pytest.fixture
def app(nacre: Nacre) -> str:
    id: str = nacre("import", "-", "app:1", input=TAR, **EPOCH).lines[0]
    return id


def test_save_to_a_file_and_to_a_pipe(nacre: Nacre, app: str, tmp_path: Path):
    nacre("save", "-o", "x.tar", "app:1")
    assert (tmp_path / "x.tar").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "x.tar").read_bytes() == nacre("save", "app:1").raw
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_save_into_a_named_pipe(nacre: Nacre, app: str, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    process = nacre.start("save", "-o", "pipe", "app:1")
    data = (tmp_path / "pipe").read_bytes()
    assert process.wait(60) == 0
    process.communicate()
    assert data == nacre("save", "app:1").raw


def test_save_refuses_a_terminal(nacre: Nacre, app: str):
    controller, terminal = pty.openpty()
    process = nacre.start("save", "app:1", stdout=terminal)
    os.close(terminal)
    _, err = process.communicate(timeout=60)
    os.close(controller)
    assert process.returncode != 0
    assert b"cowardly refusing to save to a terminal" in err


def test_a_failed_save_leaves_no_file(nacre: Nacre, app: str, tmp_path: Path):
    before = set(tmp_path.iterdir())
    assert "No such image" in nacre("save", "-o", "x.tar", "app:1", "nope", check=False).err
    assert "cannot write" in nacre("save", "-o", "no/such/folder/x.tar", "app:1", check=False).err
    assert set(tmp_path.iterdir()) == before


def test_load_says_what_it_loaded(nacre: Nacre, app: str, tmp_path: Path):
    nacre("tag", "app:1", "other.test/app:2")
    nacre("save", "-o", "named.tar", "app:1", "other.test/app:2")
    nacre("save", "-o", "unnamed.tar", app)
    nacre("rmi", "-f", app)
    assert nacre("images", "-q").out == ""
    assert nacre("load", "-i", "named.tar").lines == [
        "Loaded image: app:1", "Loaded image: other.test/app:2",
    ]  # fmt: skip
    data = gzip.compress((tmp_path / "unnamed.tar").read_bytes())
    assert nacre("load", input=data).lines == [f"Loaded image ID: {app}"]
    assert nacre("load", "-q", "-i", "named.tar").err == ""


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        (["-i", "nope.tar"], b"", "cannot open nope.tar: no such file or directory"),
        ([], b"", "neither manifest.json nor index.json"),
        ([], TAR, "nacre import"),
        ([], b"\x1f\x8b\x08" + b"x" * 100, ""),
    ],
)
def test_loads_that_fail(nacre: Nacre, words: list[str], data: bytes, message: str):
    result = nacre("load", *words, input=data, check=False)
    assert result.code == 1
    assert message in result.err
    assert "Traceback" not in result.err
    assert nacre("images", "-q").out == ""


def test_import_from_a_file_with_changes(nacre: Nacre, tmp_path: Path):
    (tmp_path / "root.tar.gz").write_bytes(gzip.compress(TAR))
    id = nacre(
        "import", "-c", 'ENTRYPOINT ["/x"]', "--change", "ENV A=1", "-m", "from me",
        "--platform", "linux/arm64", "root.tar.gz", "app:1", **EPOCH,
    ).lines[0]  # fmt: skip
    (document,) = nacre("inspect", "app:1").json
    assert document["Id"] == id
    said = {name: value for name, value in document["Config"].items() if value}
    assert said == {"Entrypoint": ["/x"], "Env": ["A=1"]}
    assert document["Architecture"] == "arm64"
    assert document["Comment"] == "from me"
    for words in (["image", "inspect"], ["history"]):
        assert nacre(*words, "--platform", "linux/arm64", "app:1").out
        refused = nacre(*words, "--platform", "linux/s390x", "app:1", check=False)
        assert refused.code == 1
        assert "platform (linux/arm64) does not match the specified platform (linux/s390x)" in refused.err


def test_equal_imports_give_equal_images(nacre: Nacre, app: str):
    again = nacre("import", "-", "app:2", input=gzip.compress(TAR), **EPOCH)
    assert again.lines == [app]


class Files(BaseHTTPRequestHandler):
    failures = 0

    def do_GET(self) -> None:
        if Files.failures:
            Files.failures -= 1
            self.send_response(503)
            self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        found = self.path == "/root.tar.gz"
        body = gzip.compress(TAR) if found else b"no"
        self.send_response(200 if found else 404)
        self.send_header("content-type", "application/gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def files() -> Iterator[ThreadingHTTPServer]:
    """A server on every address of loopback."""
    with ThreadingHTTPServer(("0.0.0.0", 0), Files) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_import_from_a_url(nacre: Nacre, files: ThreadingHTTPServer):
    url = f"http://127.0.0.1:{files.server_port}"
    nacre("import", f"{url}/root.tar.gz", "app:1")
    missing = nacre("import", f"{url}/nope", check=False)
    assert "HTTP status 404" in missing.err
    assert nacre("history", "--format", "{{.Comment}}", "app:1").lines == [f"Imported from {url}/root.tar.gz"]


def test_import_from_a_server_that_is_not_there(nacre: Nacre, free_port: Callable[[], int]):
    gone = nacre("import", f"http://127.0.0.1:{free_port()}/root.tar.gz", check=False)
    assert gone.code == 1
    assert "cannot download" in gone.err


def test_import_obeys_the_proxies(nacre: Nacre, files: ThreadingHTTPServer, free_port: Callable[[], int]):
    """0.0.0.0 is this machine too, but no name of it that is always asked directly."""
    url = f"http://0.0.0.0:{files.server_port}/root.tar.gz"
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
    assert "through the proxy" in nacre("import", url, check=False, **proxy).err
    for direct in ("0.0.0.0", "0.0.0.0/8", f"0.0.0.0:{files.server_port}"):
        nacre("import", url, no_proxy=direct, **proxy)
    nacre("import", f"http://127.0.0.1:{files.server_port}/root.tar.gz", **proxy)
    through = {"http_proxy": f"http://127.0.0.1:{files.server_port}"}
    assert "HTTP status 404" in nacre("import", "http://far.example/a.tar", check=False, **through).err
    refused = nacre("import", url, check=False, http_proxy="socks5://127.0.0.1:1")
    assert refused.err == "nacre: invalid proxy 'socks5://127.0.0.1:1'\nhint: expected http://HOST:PORT\n"


def test_import_tries_again_as_often_as_the_settings_say(nacre: Nacre, files: ThreadingHTTPServer):
    url = f"http://127.0.0.1:{files.server_port}/root.tar.gz"
    settings = Path(nacre.folder, "config.toml")
    for retries, fails in ((1, True), (3, False)):
        settings.write_text(f"retries = {retries}\n")
        Files.failures = 2
        done = nacre("import", url, check=False, NACRE_CONFIG=str(settings))
        assert ("answered 503" in done.err) == fails
        assert (done.code != 0) == fails
        Files.failures = 0


def test_import_trusts_the_authorities_of_the_settings(nacre: Nacre, files: ThreadingHTTPServer, peer):
    peer("openssl")
    folder = Path(nacre.folder)
    trusted = certificate(folder, "IP:127.0.0.1")
    speak_tls(files, trusted)
    url = f"https://127.0.0.1:{files.server_port}/root.tar.gz"
    assert "is not trusted" in nacre("import", url, check=False).err
    settings = folder / "config.toml"
    settings.write_text(f'ca = "{trusted}"\n')
    nacre("import", url, NACRE_CONFIG=str(settings))


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        (["nope.tar"], b"", "cannot open nope.tar"),
        (["-"], b"", "the input is empty"),
        (["-"], b"junk" * 500, ""),
        (["-"], gzip.compress(TAR)[:-20], ""),
        (["-c", "RUN x", "-"], TAR, "RUN is not a valid change command"),
        (["-", "NOT/a b"], TAR, "invalid reference format"),
        (["-", "app@sha256:" + "0" * 64], TAR, "digest reference"),
        (["--platform", "lynx", "-"], TAR, "invalid platform"),
    ],
)
def test_imports_that_fail(nacre: Nacre, words: list[str], data: bytes, message: str):
    result = nacre("import", *words, input=data, check=False)
    assert result.code != 0
    assert message in result.err
    assert "Traceback" not in result.err
    assert nacre("images", "-q").out == ""
