"""The process: beginning, being ready, ending; `nacre registry serve`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from waiting import until

from nacre.services.server import RunningServer
from nacre.services.server.listen import bind
from nacre.stores import registry
from nacre.stores.garbage import Garbage
from nacre.stores.registry import RegistryStore, collected
from nacre.words.digest import Digest
from nacre.words.errors import Conflict, StoreError, UsageError
from nacre.words.rules import GarbageRules

DEADLINE = 30


@pytest.fixture
def serve(tmp_path):
    """Start `nacre registry serve`; gives the process and its URL. Nothing is left running."""
    running = []

    def start(*options):
        command = [sys.executable, "-m", "nacre", "registry", "serve", "--addr", "127.0.0.1:0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(process)
        line = process.stdout.readline()
        found = re.fullmatch(r"serving on (http://127\.0\.0\.1:\d+)/v2/, storage (.*)\n", line)
        assert found, line + process.stderr.read()
        assert found.group(2) == options[options.index("--root") + 1]
        return process, found.group(1)

    yield start
    for process in running:
        process.kill()
        process.communicate(timeout=DEADLINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_when_told(serve, api_of, tmp_path, number):
    process, url = serve("--root", str(tmp_path / "r"))
    api_of(url).push_image("app", "1")
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, "")
    lines = err.splitlines()
    assert re.fullmatch(r'127\.0\.0\.1 "PUT /v2/app/manifests/1" 201 0 [\d.]+ms', lines[-1])
    assert len(lines) == 3


def test_quiet(serve, api_of, tmp_path):
    process, url = serve("--quiet", "--root", str(tmp_path / "r"))
    api_of(url).push_image("app", "1")
    process.terminate()
    assert process.communicate(timeout=DEADLINE) == ("", "")


def test_it_ends_in_time_whatever_clients_do(serve, api_of, tmp_path, monkeypatch):
    monkeypatch.setenv("NACRE_SERVE_SERVER_STOP_TIMEOUT", "500ms")
    process, url = serve("--quiet", "--root", str(tmp_path / "r"))
    api = api_of(url)
    digest = api.push_blob("app", os.urandom(30_000_000))
    location = api.begin("app")
    host, _, port = api.address.partition(":")
    requests = (
        "", "GET /v2/ HTTP/1.1\r\n", f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes=1-\r\n\r\n",
        f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + "x" * 500_000,
    )  # fmt: skip
    clients = [socket.create_connection((host, int(port)), timeout=DEADLINE) for _ in requests]
    for client, request in zip(clients, requests, strict=True):
        client.sendall(request.encode())
    while api("GET", location).headers["Range"] == "0-0":
        time.sleep(0.01)
    began = time.monotonic()
    process.terminate()
    out, err = process.communicate(timeout=DEADLINE)
    assert time.monotonic() - began < 5
    assert (process.returncode, out, err) == (0, "", "")
    for client in clients:
        client.close()
    with RunningServer(str(tmp_path / "r")) as again:
        kept = api_of(again.url)("GET", location).headers["Range"]
        assert 0 < int(kept.partition("-")[2]) < 500_000


def test_everything_is_there_after_a_kill(serve, api_of, tmp_path, make):
    process, url = serve("--root", str(tmp_path / "r"))
    image = api_of(url).push_image("app", "1")
    process.kill()
    process.wait(DEADLINE)
    with RunningServer(str(tmp_path / "r")) as serving:
        api = api_of(serving.url)
        assert api("GET", "app/manifests/1").body == image.data
        assert api("GET", f"app/blobs/{make.digest(image.layer)}").body == image.layer


def test_what_a_kill_leaves_is_removed(tmp_path, api_of, make):
    root = str(tmp_path / "r")
    with RunningServer(root) as serving:
        api, state = api_of(serving.url), serving.registry.state
        image = api.push_image("app", "1")
        location = api.begin("app")
        assert api("PATCH", location, b"data").status == 202
        for data, algorithm in ((b"on the disk, in no repository", "sha256"), (b"also this", "sha512")):
            state.storage.add(data, Digest(make.digest(data, algorithm)))
        with closing(state.storage.upload("0123abcd")) as writer:
            writer.write(b"an upload without a session")
    os.unlink(f"{root}/registry.clean")
    with RunningServer(root) as serving:
        api = api_of(serving.url)
        until(lambda: serving.registry.jobs.is_over("tidy"))
        assert sorted(os.listdir(f"{root}/blobs/sha512")) == []
        assert len(os.listdir(f"{root}/blobs/sha256")) == 3
        assert {name.partition(".")[0] for name in os.listdir(f"{root}/ingest")} == {f"key-{location[-32:]}"}
        assert api("GET", "app/manifests/1").body == image.data
        assert api("PUT", f"{location}?digest={make.digest(b'data!')}", b"!").status == 201


def test_nothing_is_looked_through_after_an_end_in_order(tmp_path, monkeypatch):
    root = str(tmp_path / "r")
    with RunningServer(root) as serving:
        until(lambda: serving.registry.jobs.is_over("tidy"))
    monkeypatch.setattr(registry.os, "scandir", lambda _: pytest.fail("it looks through all content"))
    with RunningServer(root) as serving:
        until(lambda: serving.registry.jobs.is_over("tidy"))


def test_a_start_reads_as_much_whatever_is_kept(tmp_path, monkeypatch):
    """After a kill as well: it is looked through later."""
    root = str(tmp_path / "r")
    RegistryStore(root).close()
    monkeypatch.setattr(registry.os, "scandir", lambda _: pytest.fail("it looks through all content"))
    monkeypatch.setattr(registry, "names", lambda _folder: pytest.fail("it lists a folder"))
    RegistryStore(root).close()


def test_content_that_is_coming_is_not_tidied_away(tmp_path, make):
    with closing(RegistryStore(str(tmp_path / "r"))) as store:
        digest = Digest(make.digest(b"data"))
        with store.storage.adding(digest):
            placed = store.storage.add(b"data", digest)
            with closing(store.storage.upload("0123")) as writer:
                writer.write(b"being written")
                list(store.storage.tidy())
                assert store.storage.received("0123")
            assert store.storage.locate(digest, 4)
            store.catalog.add_blob("app", placed)
        list(store.storage.tidy())
        assert store.storage.locate(digest, 4)


def test_a_collection_by_hand_removes_what_a_kill_left(tmp_path, make):
    root, digest = str(tmp_path / "r"), Digest(make.digest(b"data"))
    with closing(RegistryStore(root)) as store:
        store.storage.add(b"data", digest)
    assert collected(root, GarbageRules(), dry_run=False) == (Garbage(), Garbage())
    with closing(RegistryStore(root)) as store:
        assert store.storage.locate(digest, 4) is None


def run(*arguments):
    command = [sys.executable, "-m", "nacre", "registry", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_a_folder_is_served_once(tmp_path):
    with RunningServer(str(tmp_path / "r")):
        done = run("--addr", "127.0.0.1:0", "--root", str(tmp_path / "r"))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"nacre: {tmp_path}/r is served by another process\n"
    with RunningServer(str(tmp_path / "r")):
        pass


def test_a_port_is_served_once(tmp_path):
    with RunningServer(str(tmp_path / "a")) as serving:
        address = serving.url.removeprefix("http://")
        done = run("--addr", address, "--root", str(tmp_path / "b"))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"nacre: cannot listen on {address}: Address already in use\n"
        assert not (tmp_path / "b").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError):
        RunningServer(str(tmp_path))
    (tmp_path / "store").mkdir()
    (tmp_path / "store/nacre.db").touch()
    with pytest.raises(Conflict, match="not a registry"):
        RunningServer(str(tmp_path / "store"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "store"]


def test_a_registry_of_a_newer_nacre(tmp_path):
    import sqlite3

    with RunningServer(str(tmp_path / "r")):
        pass
    database = sqlite3.connect(tmp_path / "r/registry.db")
    database.execute("PRAGMA user_version = 99")
    database.close()
    held = open_files(tmp_path / "r")
    with pytest.raises(StoreError, match="newer nacre"):
        RunningServer(str(tmp_path / "r"))
    assert open_files(tmp_path / "r") == held == []


def open_files(folder):
    """What this process has open there."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    found = [os.readlink(link) for link in links if os.path.lexists(link)]
    return [path for path in found if path.startswith(str(folder))]


def test_what_is_stored_is_private(tmp_path):
    with RunningServer(str(tmp_path / "r")):
        assert Path(tmp_path / "r").stat().st_mode & 0o777 == 0o700
        assert Path(tmp_path / "r/registry.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("wrong", ["", "x", "127.0.0.1", "a:b", "a:99999", "::1:80", "a:-1"])
def test_addresses_that_are_none(nacre, wrong):
    done = nacre("registry", "serve", "--addr", wrong, check=False)
    assert done.code == 1
    assert done.err.startswith(f"nacre: invalid address '{wrong}'")


def test_an_address_of_ipv6(tmp_path, nacre):
    try:
        bind("::1", 0).close()
    except Conflict:
        pytest.skip("no IPv6 here")
    process = nacre.start("registry", "serve", "--addr", "[::1]:0", "--root", str(tmp_path / "r"))
    try:
        assert process.stdout.readline().startswith(b"serving on http://[::1]:")
    finally:
        process.terminate()
        process.communicate()


def test_addresses_that_cannot_be_listened_on():
    with pytest.raises(UsageError):
        bind("a" * 300, 0)
    with pytest.raises(Conflict):
        bind("192.0.2.1", 0)


def test_ipv6(tmp_path, api_of):
    try:
        bind("::1", 0).close()
    except (Conflict, UsageError):
        pytest.skip("no IPv6 loopback here")
    with RunningServer(str(tmp_path / "r"), host="::1") as serving:
        assert serving.url.startswith("http://[::1]:")
        assert api_of(serving.url)("GET", "/v2/").status == 200


OPEN, CLOSED = (":0", "192.0.2.1:5", "[::]:5"), ("127.0.0.2:0", "localhost:0", "[::1]:5")


@pytest.mark.parametrize(("address", "opened"), [(a, a in OPEN) for a in OPEN + CLOSED])
def test_plain_http_only_on_request_where_others_can_reach_it(tmp_path, monkeypatch, address, opened):
    from nacre.cli.context import Context
    from nacre.cli.options import parse
    from nacre.cli.registry import COMMAND
    from nacre.services import server

    calls = []
    monkeypatch.setattr(server, "serve", lambda *args, **_: calls.append(args))
    with Context({}, root=str(tmp_path)) as context:
        if opened:
            with pytest.raises(UsageError, match="reachable from other machines, and without TLS") as caught:
                COMMAND.run(context, parse(COMMAND, ["--addr", address]))
            assert "--plain-http" in caught.value.hint
        more = ["--plain-http"] if opened else []
        assert COMMAND.run(context, parse(COMMAND, ["--addr", address, *more])) == 0
    assert [call[2] for call in calls] == [f"{tmp_path}/registry"]


def test_many_registries_in_one_process(tmp_path, api_of):
    with (
        RunningServer(str(tmp_path / "a")) as first,
        RunningServer(str(tmp_path / "b")) as second,
    ):
        api_of(first.url).push_image("app", "1")
        assert api_of(second.url)("GET", "app/manifests/1").status == 404
