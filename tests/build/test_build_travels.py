"""A build cache goes from one machine to another: other store, other driver, the same image."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nacre.engine.buildcache import parse
from nacre.words.errors import NacreError, Unsupported, UsageError

FILE = """FROM busybox:test AS build
WORKDIR /src
COPY a ./
RUN cat /proc/uptime > made && head -c 100000 /dev/urandom > large
FROM busybox:test
COPY --from=build /src/made /made
RUN cat /proc/uptime /proc/sys/kernel/random/uuid > /when
ENV A=1
COPY a /a
"""
STEPS = 6


@pytest.fixture
def other(another: Callable[[str], Any], project: Any, busybox_image: str) -> Callable[[str], Any]:
    """`other("name")` is one more store that has the base image."""
    saved = project.folder.parent / "base.tar"
    project.nacre("save", "-o", str(saved), busybox_image)

    def make(name: str) -> Any:
        found = another(name)
        found("load", "-i", str(saved))
        return found

    return make


@pytest.fixture
def built(project: Any) -> Any:
    """The context, with its Dockerfile."""
    project.write("a", "text")
    project.write("Dockerfile", FILE)
    return project


def on(nacre: Any, folder: Path, *words: str, **options: Any) -> Any:
    """Build there."""
    return nacre("build", "-t", "app", *words, str(folder), **options)


def digest(nacre: Any) -> str:
    return str(nacre("images", "--no-trunc", "--quiet", "app").out)


def trees(nacre: Any) -> set[str]:
    return {path.name for path in (nacre.root / "trees").iterdir() if not path.name.startswith(".")}


def test_through_a_registry(built: Any, other: Callable[[str], Any], registry: str) -> None:
    """All steps are found, only layers of the result come, and the cache can be passed on from there."""
    ref = f"type=registry,ref={registry}/cache:main"
    done = built.build("", "--cache-to", f"{ref},mode=max")
    assert "exporting cache to registry" in done.err
    again = built.build("", "--cache-to", f"{ref},mode=max")
    assert "unchanged manifest sha256:" in again.err
    far = other("far")
    base = trees(far)
    onward = f"type=registry,ref={registry}/cache2:main,mode=max"
    found = on(far, built.folder, "--cache-from", ref, "--cache-to", onward, NACRE_DRIVER="overlay")
    assert f"nothing changed ({STEPS} cached)" in found.err
    assert digest(far) == digest(built.nacre)
    assert len(trees(far) - base) == 3
    third = other("third")
    found = on(third, built.folder, "--cache-from", f"{registry}/cache2:main")
    assert f"nothing changed ({STEPS} cached)" in found.err
    assert digest(third) == digest(built.nacre)
    # a step that needs what was not brought fetches it
    built.write("Dockerfile", FILE + "COPY --from=build /src/large /large\n")
    found = on(third, built.folder, "--cache-from", f"{registry}/cache2:main")
    assert f"1 step run, {STEPS} cached" in found.err


@pytest.mark.parametrize("registry", ["nacre"], indirect=True)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_layers_go_while_later_steps_run(project: Any, registry: str, mode: str, tmp_path: Path) -> None:
    """A command waits until the registry has the layer of the step before; a failed build sends no cache."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            deadline = time.monotonic() + 120
            while not (came := has_large(tmp_path / "registry")) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.send_response(200 if came else 500)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            wait = f"wget -q -O /dev/null http://127.0.0.1:{server.server_port}/"
            text = f"FROM busybox:test\nRUN head -c 300000 /dev/urandom > /large\nRUN {wait}\n"
            cache = f"type=registry,ref={registry}/cache:main,mode={mode}"
            done = project.build(text, "--cache-to", cache)
            project.fails(text + "RUN exit 1\n", "--cache-to", cache.replace("cache:main", "none:main"))
        finally:
            server.shutdown()
            thread.join()
    assert "sending layers to the cache" in done.err
    assert "exporting cache to registry" in done.err


def has_large(folder: Path) -> bool:
    return any(path.stat().st_size > 200_000 for path in folder.rglob("*") if path.is_file())


def test_through_a_folder(built: Any, other: Callable[[str], Any], tmp_path: Path) -> None:
    """With the layers of the result alone; what the stages before are is known all the same."""
    cache = tmp_path / "cache"
    built.build("", "--cache-to", f"type=local,dest={cache}")
    assert json.loads((cache / "index.json").read_text())["manifests"]
    far = other("far")
    before = trees(far)
    said = on(far, built.folder, "--explain", "--cache-from", f"type=local,src={cache}")
    assert said.out.endswith(f"0 steps would run, {STEPS} cached\n")
    assert "importing cache manifest from" in said.err
    assert trees(far) == before
    found = on(far, built.folder, "--cache-from", f"type=local,src={cache}")
    assert f"nothing changed ({STEPS} cached)" in found.err
    assert digest(far) == digest(built.nacre)
    built.write("Dockerfile", FILE + "COPY --from=build /src/large /large\n")
    said = on(other("second"), built.folder, "--explain", "--cache-from", f"type=local,src={cache}")
    assert "COPY --from=build /src/large /large: may run" in said.out
    found = on(other("third"), built.folder, "--cache-from", f"type=local,src={cache}")
    assert "does not hold layer" in found.err
    assert "ERROR" not in found.err
    assert "steps run" in found.err


def test_a_cache_that_was_changed(built: Any, other: Callable[[str], Any], tmp_path: Path) -> None:
    """A layer that is not what its digest says is not used: the steps are done."""
    cache = tmp_path / "cache"
    built.build("", "--cache-to", f"type=local,dest={cache},mode=max")
    for path in (cache / "blobs" / "sha256").iterdir():
        data = path.read_bytes()
        if data[:1] != b"{":
            path.chmod(0o644)
            path.write_bytes(bytes(len(data)))
    found = on(other("far"), built.folder, "--cache-from", f"type=local,src={cache}")
    assert "WARNING: the cache" in found.err
    assert f"{STEPS} steps run" in found.err
    shutil.rmtree(cache / "blobs")
    found = on(other("third"), built.folder, "--cache-from", f"type=local,src={cache}")
    assert f"WARNING: no cache from {cache}" in found.err


def test_in_the_image(built: Any, other: Callable[[str], Any], tmp_path: Path) -> None:
    """And an image without a cache, or none at all, is said once."""
    built.build("", "--build-arg", "BUILDKIT_INLINE_CACHE=1")
    layout = str(tmp_path / "layout")
    for name in ("app", "busybox:test"):
        built.nacre("copy", "-q", f"nacre:{name}", f"oci:{layout}:{name}")
    far, words = other("far"), []
    for tag in ("none", "busybox:test", "app"):
        words += ["--cache-from", f"type=local,src={layout},tag={tag}"]
    found = on(far, built.folder, *words, "--cache-to", "type=inline")
    assert found.err.count("WARNING") == 2
    assert f"WARNING: no cache from {layout}: it holds no build cache" in found.err
    assert f"nothing changed ({STEPS} cached)" in found.err
    assert digest(far) == digest(built.nacre)


def test_in_an_image_for_several_platforms(project: Any, another: Any, tmp_path: Path) -> None:
    project.write("a", "text")
    platforms = ("--platform", "linux/amd64,linux/arm64")
    words = ("--cache-to", "type=inline", "-o", f"type=oci,dest={tmp_path}/app.tar")
    project.build("FROM scratch\nARG TARGETARCH\nCOPY a /$TARGETARCH\n", *platforms, *words)
    (tmp_path / "layout").mkdir()
    subprocess.run(["tar", "-xf", f"{tmp_path}/app.tar", "-C", f"{tmp_path}/layout"], check=True)
    cache = ("--cache-from", f"type=local,src={tmp_path}/layout")
    found = on(another("far"), project.folder, *platforms, *cache)
    assert "nothing changed (2 cached)" in found.err


def test_a_cache_that_cannot_be_written(built: Any, tmp_path: Path) -> None:
    """The build fails, unless it is to go on; the image is there in both cases."""
    (tmp_path / "file").write_text("")
    where = f"type=local,dest={tmp_path}/file/cache"
    failed = built.build("", "--cache-to", where, check=False)
    assert failed.code == 1
    assert f"cannot export the cache to {tmp_path}/file/cache" in failed.err
    assert digest(built.nacre)
    built.build("", "--cache-to", f"{where},ignore-error=true")


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--cache-to", "type=s3,bucket=b", "type=s3 is not supported"),
        ("--cache-to", "type=registry", "needs ref="),
        ("--cache-from", "type=local,dest=x", "has no attribute 'dest'"),
        ("--cache-to", "type=local,dest=x,mode=all", "invalid mode=all"),
        ("--cache-to", "type=local,dest=x,ignore-error=perhaps", "expected true or false"),
        ("--cache-to", "type=local,dest=x,image-manifest=false", "is not supported"),
        ("--cache-to", "type=local,dest=x,compression=lzma", "compression=lzma is not supported"),
        ("--cache-to", "type=local,dest=x,compression=zstd,compression-level=fast", "expected a number"),
        ("--cache-to", "type=local,dest=x,compression=zstd,compression-level=99", "99"),
    ],
)
def test_what_is_refused(option: str, text: str, said: str) -> None:
    with pytest.raises((UsageError, Unsupported)) as caught:
        parse(option, text)
    assert said in caught.value.message


def test_the_short_form_names_images() -> None:
    assert [place.get("ref") for place in parse("--cache-from", "a,b:1")] == ["a", "b:1"]
    with pytest.raises(NacreError):
        parse("--cache-from", 'type=registry,"ref')
