"""`ADD` of URLs: from a real server to the files of an image."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from machine import needs_userns, remove
from selfsigned import certificate, speak_tls
from tarkit import tar_of

from nacre.engine import Config, Engine
from nacre.ground import userns
from nacre.words.errors import DockerfileError

BASE = "FROM busybox:test\n"
DATED = "Wed, 21 Oct 2015 07:28:00 GMT"
DATE = 1445412480


class Site(ThreadingHTTPServer):
    """Files by path, on every address of loopback; `cut` is how many answers break off in the middle."""

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), _Handler)
        self.files: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[str] = []
        self.cut = 0
        self.hangs, self.asleep, self.woken = False, threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def put(self, path: str, body: bytes, **fields: str) -> str:
        """Serve a file; keywords are fields of the answer. Its URL."""
        self.files[path] = body, {name.replace("_", "-"): value for name, value in fields.items()}
        return self.url + path


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        site.asked.append(self.path)
        if self.path in site.moved:
            self.send_response(302)
            self.send_header("location", site.moved[self.path])
            self.send_header("content-length", "0")
            self.end_headers()
            return
        path = self.path.partition("?")[0]
        body, fields = site.files.get(path, (b"no", {}))
        start = int(self.headers.get("range", "bytes=0-")[6:-1])
        self.send_response(404 if path not in site.files else 206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body) - start))
        self.end_headers()
        self._send(body[start:])

    def _send(self, body: bytes) -> None:
        site = self.server
        if site.cut or site.hangs:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            site.cut -= bool(site.cut)
            if site.hangs:
                site.asleep.set()
                site.woken.wait(60)
            return
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
        thread.start()
        yield server
        server.woken.set()
        server.shutdown()
        thread.join()


def error(result: Any) -> str:
    """The sentence that a failed build ends with."""
    (line,) = [line for line in result.err.splitlines() if line.startswith("nacre: ")]
    return str(line.removeprefix("nacre: "))


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def test_a_file_has_the_mode_time_and_owner_of_docker(project: Any, site: Site) -> None:
    url = site.put("/dir/a%20b.txt", b"text", last_modified=DATED)
    project.build(BASE + f"ADD {url}?x=1 /etc\nADD {url} /whole/name\nADD {url} /folder/\n")
    assert sorted(site.asked) == ["/dir/a%20b.txt", "/dir/a%20b.txt?x=1"]
    said = project.sh("cat '/folder/a b.txt'; stat -c '%n %a %u %g %Y' /whole/name '/folder/a b.txt'")
    assert said == f"text/whole/name 600 0 0 {DATE}\n/folder/a b.txt 600 0 0 {DATE}\n"


def test_mode_and_owner_can_be_said(project: Any, site: Site, needs_ids: None) -> None:
    url = site.put("/f", b"x")
    project.build(BASE + f"ADD --chmod=755 --chown=user:extra {url} /a\nADD --chmod=go+r {url} /b\n")
    assert project.sh("stat -c '%a %u %g' /a /b") == "755 1000 2000\n644 0 0\n"


def test_several_sources_keep_their_names(project: Any, site: Site) -> None:
    site.put("/one", b"1")
    two = site.put("/two", b"2")
    project.write("three", "3")
    project.build(BASE + f"ARG NAME=one\nADD {site.url}/$NAME three {two} <<four /all/\n4\nfour\n")
    assert project.sh("cd /all; ls; cat *") == "four\none\nthree\ntwo\n4\n132"


def test_a_url_is_fetched_once_in_a_build(project: Any, site: Site) -> None:
    url = site.put("/f", b"x")
    text = f"FROM scratch AS one\nADD {url} /a\nFROM scratch\nCOPY --from=one /a /a\nADD {url} /b\n"
    project.build(text)
    assert site.asked == ["/f"]
    project.build(text)
    assert site.asked == ["/f", "/f"]


def test_an_unchanged_download_is_found_in_the_cache(project: Any, site: Site) -> None:
    url = site.put("/f", b"one", last_modified=DATED)
    text = BASE + f"ADD {url} /f\n"
    project.build(text)
    first = project.id()
    site.put("/f", b"one", last_modified="Thu, 22 Oct 2015 07:28:00 GMT")
    assert "CACHED" in project.build(text).err
    assert project.id() == first
    site.put("/f", b"two")
    said = project.build(text).err
    assert "CACHED" not in said
    assert "not cached: f changed" in said
    assert project.sh("cat /f") == "two"


def test_the_time_without_one_from_the_server(project: Any, site: Site) -> None:
    url = site.put("/f", b"x")
    dated = site.put("/dated", b"x", last_modified=DATED)
    text = (
        f"FROM scratch\nADD {url} /f\nFROM busybox:test\nCOPY --from=0 /f /scratch\nADD {dated} {url} /d/\n"
    )
    times = "stat -c %Y /scratch /d/f /d/dated"
    project.build(text)
    assert project.sh(times).splitlines()[::2] == ["0", str(DATE)]
    project.build(text, "--build-arg", "SOURCE_DATE_EPOCH=1400000000", "--no-cache")
    assert project.sh(times).split() == ["1400000000"] * 3


def test_the_same_build_elsewhere_is_the_same_image(another: Any, site: Site, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD {site.put('/f', b'x')} /\n")
    digests = {another(name)("build", "-q", str(tmp_path)).out for name in ("one", "two")}
    assert len(digests) == 1


def test_archives_are_unpacked_only_on_request(project: Any, site: Site) -> None:
    url = site.put("/a.tar", tar_of(inner=b"in"))
    (project.folder / "b.tar").write_bytes(tar_of(local=b"here"))
    project.build(
        BASE + f"ADD {url} /1/\nADD --unpack {url} /2/\nADD --unpack=true {url} b.tar /3/\n"
        f"ADD {url} b.tar /4/\nADD --unpack=false {url} b.tar /5/\n"
    )
    assert project.sh("for n in 1 2 3 4 5; do echo $n $(ls /$n); done") == (
        "1 a.tar\n2 inner\n3 inner local\n4 a.tar local\n5 a.tar b.tar\n"
    )


def test_a_local_file_and_a_download_are_different_steps(project: Any, site: Site) -> None:
    """Equal in name, content, mode and owner: one is an archive to unpack, one is not."""
    data = tar_of(inner=b"in")
    path = project.write("a.tar", mode=0o600)
    path.write_bytes(data)
    project.build(BASE + "ADD a.tar /x/\n")
    project.build(BASE + f"ADD {site.put('/a.tar', data)} /x/\n")
    assert project.sh("ls /x") == "a.tar\n"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_checksums(project: Any, site: Site, algorithm: str) -> None:
    url = site.put("/f", b"text")
    right, wrong = digest(b"text", algorithm), digest(b"other", algorithm)
    project.build(BASE + f"ARG SUM={right}\nADD --checksum=$SUM {url} /f\n")
    for text in (f"ADD --checksum={wrong} {url} /f\n", f"ADD {url} /g\nADD --checksum={wrong} {url} /f\n"):
        said = error(project.fails(BASE + text))
        assert said.startswith(f"Dockerfile:{1 + text.count(chr(10))}:")
        assert said.endswith(f": {url} has digest {right}, expected {wrong}")
    assert project.leftovers() == []


def test_refusals_before_anything_is_fetched(project: Any, site: Site) -> None:
    url = site.put("/f", b"x")
    for words, message in (
        (f"ADD --checksum=sha256:0 {url} /", "2:16: invalid --checksum 'sha256:0': expected sha256:<64 hex"),
        (f"ADD --checksum={digest(b'')} {url} {url} /", "checksum can't be specified for multiple sources"),
        (f"ADD --checksum={digest(b'')} f /", "--checksum and --keep-git-dir need a URL as source"),
        (f"ADD --keep-git-dir {url} /", "2:1: --keep-git-dir needs a git repository as source"),
        (f"ADD {url}.git?x /", "2:5: unexpected query 'x'"),
        (f"COPY {url} /", "2:6: source can't be a URL for COPY"),
    ):
        assert message in error(project.fails(BASE + words + "\n"))
    assert site.asked == []


def test_names_that_a_url_does_not_say(project: Any, site: Site) -> None:
    url = site.put("/", b"x")
    assert error(project.fails(BASE + f"ADD {url} /etc/\n")) == (
        f"Dockerfile:2:1: cannot determine filename for source {url}"
    )
    assert "cannot determine filename" in project.fails(BASE + f"ADD {url} /etc\n").err
    assert "cannot determine filename" in project.fails("FROM scratch\n" + f"ADD {url} /\n").err
    project.build(BASE + f"ADD {url} /etc/name\n")
    site.put("/", b"x", content_disposition="attachment; filename=../../evil")
    assert "cannot determine filename" in project.fails(BASE + f"ADD {url} /etc/\n").err
    site.put("/", b"x", content_disposition='attachment; filename="good name"')
    project.build(BASE + f"ADD {url} /etc/\n")
    assert project.sh("cat '/etc/good name'") == "x"


def test_what_cannot_be_had_is_told_with_its_place(
    project: Any, site: Site, free_port: Callable[[], int]
) -> None:
    site.moved |= {"/round": "/round", "/away": "/nope"}
    site.put("/f", b"x")
    missing = error(project.fails(BASE + f"RUN true\nADD f {site.url}/nope /\n"))
    assert missing == "Dockerfile:3:5: 'f' not found in the build context"
    for path, why in (("/nope", "HTTP status 404"), ("/away", "404"), ("/round", "redirects in circles")):
        said = error(project.fails(BASE + f"RUN true\nADD {site.url}{path} /\n"))
        assert said.startswith(f"Dockerfile:3:5: cannot download {site.url}{path}: ")
        assert why in said
    gone = f"http://127.0.0.1:{free_port()}/f"
    assert error(project.fails(BASE + f"ADD {gone} /\n")).startswith(
        f"Dockerfile:2:5: cannot download {gone}: "
    )
    for wrong in ("http://", "http://[h/f", "http://h:port/f"):
        assert f"Dockerfile:2:5: invalid URL '{wrong}'" in error(project.fails(BASE + f"ADD {wrong} /\n"))
    assert project.leftovers() == []


def test_redirects_are_followed(project: Any, site: Site) -> None:
    site.moved["/old"] = site.put("/new", b"x")
    project.build(BASE + f"ADD {site.url}/old /f/\n")
    assert project.sh("cat /f/old") == "x"


def test_broken_connections_are_resumed_as_the_settings_say(project: Any, site: Site) -> None:
    body = b"0123456789" * 10_000
    url = site.put("/f", body, etag='"1"')
    settings = Path(project.nacre.folder, "config.toml")
    settings.write_text("retries = 1\n")
    site.cut = 1
    said = project.fails(BASE + f"ADD {url} /f\n", NACRE_CONFIG=str(settings))
    assert error(said).startswith(f"Dockerfile:2:5: cannot download {url}: ")
    settings.write_text("retries = 3\n")
    site.cut, site.asked[:] = 1, []
    project.build(BASE + f"ADD --checksum={digest(body)} {url} /f\n", NACRE_CONFIG=str(settings))
    assert site.asked == ["/f", "/f"]
    assert project.leftovers() == []


def test_the_proxies_of_the_user_count(project: Any, site: Site, free_port: Callable[[], int]) -> None:
    """0.0.0.0 is this machine too, but no name of it that is always asked directly."""
    site.put("/f", b"x")
    url = f"http://0.0.0.0:{site.server_port}/f"
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
    text = BASE + f"ADD {url} /f\n"
    assert "through the proxy" in error(project.fails(text, **proxy))
    project.build(text, no_proxy="0.0.0.0", **proxy)


def test_the_authorities_of_the_settings_count(project: Any, site: Site, peer: Callable[..., None]) -> None:
    peer("openssl")
    folder = Path(project.nacre.folder)
    trusted = certificate(folder, "IP:127.0.0.1")
    speak_tls(site, trusted)
    text = BASE + f"ADD {site.put('/f', b'x').replace('http:', 'https:')} /f\n"
    assert "is not trusted" in error(project.fails(text))
    settings = folder / "config.toml"
    settings.write_text(f'ca = "{trusted}"\n')
    project.build(text, NACRE_CONFIG=str(settings))


def test_an_interrupt_leaves_nothing(project: Any, site: Site) -> None:
    site.hangs = True
    text = BASE + f"ADD {site.put('/f', b'x' * 10_000)} /f\n"
    project.interrupted(text, ready=lambda: site.asleep.wait(60))


def test_a_trigger_fetches(project: Any, site: Site) -> None:
    project.build(BASE + f"ONBUILD ADD {site.put('/f', b'x')} /f\n", tag="parent")
    assert site.asked == []
    project.build("FROM parent\n")
    assert project.sh("cat /f") == "x"


def test_a_download_is_a_line_of_progress(project: Any, site: Site) -> None:
    assert (
        "\n#2 f: Download complete\n#2 DONE "
        in project.build(f"FROM scratch\nADD {site.put('/f', b'x')} /f\n").err
    )


def test_a_library_builds_with_urls(site: Site, tmp_path: Path) -> None:
    if not userns.mapped():
        needs_userns()
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD {site.put('/f', b'x')} /f\n")
    with ExitStack() as after, Engine(Config(root=str(tmp_path / "store"))) as engine:
        after.callback(remove, tmp_path / "store")
        built = engine.build(str(tmp_path), tags=["app"])
        assert (built.ran, built.cached) == (1, 0)
        again = engine.build(str(tmp_path))
        assert (again.ran, again.cached, again.image.id) == (0, 1, built.image.id)
        engine.export_tar("app", tmp_path / "app.tar")
        (tmp_path / "Dockerfile").write_text(f"FROM scratch\nADD {site.url}/nope /f\n")
        with pytest.raises(DockerfileError, match="HTTP status 404"):
            engine.build(str(tmp_path))
    with tarfile.open(tmp_path / "app.tar") as tar:
        assert [(one.name, one.mode) for one in tar if one.isfile()] == [("f", 0o600)]
