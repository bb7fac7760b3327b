# ruff: noqa: E501 - tables of attacks are read by the line
"""Bad input, each time the same demand: one clear sentence, docker's exit code, nothing half-made."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evil import OCI, Image, Layer, digest_of, leftovers, sentence
from fakeregistry import FakeRegistry

from nacre.ground import userns

_COLUMNS = "{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}} {{.CreatedAt}} {{.Size}}"


class Look:
    """What a store holds, to be compared before and after something that must change nothing."""

    def __init__(self, nacre: Any) -> None:
        self.nacre = nacre
        self.before = self.now()

    def now(self) -> dict[str, Any]:
        nacre, root = self.nacre, self.nacre.root
        index = json.loads((root / "index.json").read_bytes())
        return {
            "images": sorted(nacre("images", "-a", "--no-trunc", "--format", _COLUMNS).lines),
            "containers": nacre("ps", "-a", "-q").out,
            "names": sorted(row["digest"] for row in index["manifests"]),
        }

    def same(self) -> None:
        """No image, container or name more or less, and nothing lying about."""
        assert self.now() == self.before
        assert leftovers(self.nacre.root) == []

    def same_content(self) -> None:
        """Nor any content: what a failed command had stored the sweep takes away, and only that."""
        self.same()
        self.nacre("system", "prune", "-f")
        for folder in ("trees", "blobs/sha256"):
            assert not {path.name for path in (self.nacre.root / folder).iterdir()} - self.content(folder)

    def content(self, folder: str) -> set[str]:
        return self._content[folder]

    def remember(self) -> Look:
        folders = ("trees", "blobs/sha256")
        self._content = {f: {path.name for path in (self.nacre.root / f).iterdir()} for f in folders}
        return self


@pytest.fixture
def look(nacre: Any, busybox_image: str) -> Look:
    nacre("images")
    return Look(nacre).remember()


def test_an_unknown_image(nacre: Any, look: Look, fake: FakeRegistry) -> None:
    name = f"{fake.host}/nothing:1"
    for words, code in (
        (("pull", name), 1), (("run", "--rm", name, "true"), 125), (("create", name), 1),
        (("run", "--pull=never", name), 125), (("push", name), 1), (("rmi", "nothing"), 1),
        (("tag", "nothing", "x"), 1), (("save", "nothing"), 1), (("history", "nothing"), 1),
        (("inspect", "nothing"), 1), (("rm", "nothing"), 1), (("start", "nothing"), 1),
        (("logs", "nothing"), 1), (("stop", "nothing"), 1), (("kill", "nothing"), 1),
        (("wait", "nothing"), 1),
    ):  # fmt: skip
        said = sentence(nacre(*words, check=False), code)
        assert "nothing" in said
        assert len(said) < 300
    look.same_content()


def test_names_that_cannot_be(nacre: Any, look: Look) -> None:
    for words, code in (
        (("pull", "UPPER/case"), 1), (("run", "a b"), 125), (("run", "-"), 125),
        (("tag", "busybox:test", "x:"), 1),
        (("pull", "x" * 300), 1), (("run", "", "true"), 125), (("pull", "localhost:99999/x"), 1),
        (("pull", "x@sha256:1"), 1), (("run", "--name", "-bad", "busybox:test"), 125),
    ):  # fmt: skip
        sentence(nacre(*words, check=False), code)
    look.same_content()


def test_a_registry_that_is_down(nacre: Any, look: Look, free_port: Callable[[], int]) -> None:
    name = f"127.0.0.1:{free_port()}/app:1"
    nacre("tag", "busybox:test", name.replace("app", "mine"))
    for words, code in (
        (("pull", name), 1), (("run", "--rm", name), 125), (("push", name.replace("app", "mine")), 1),
        (("build", "-"), 1),
    ):  # fmt: skip
        said = sentence(nacre(*words, input=f"FROM {name}\nRUN true\n", check=False), code)
        assert name.split("/")[0] in said
        assert "refused" in said
    nacre("rmi", name.replace("app", "mine"))
    look.same_content()


def test_a_registry_that_hangs_up(nacre: Any, look: Look) -> None:
    """A port that somebody listens on who does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"\0\1\2 SSH-2.0-not-http\r\n\r\n")
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        said = sentence(nacre("pull", f"127.0.0.1:{server.getsockname()[1]}/app:1", check=False))
        assert f"127.0.0.1:{server.getsockname()[1]}" in said
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)
    look.same_content()


@pytest.mark.parametrize(
    ("text", "line", "column", "offending"),
    [
        ("FROM busybox:test\nRUNN echo x\n", 2, 1, "RUNN"),
        ("FROM busybox:test\nRUN true\n\n# c\n  COPPY a b\n", 5, 3, "COPPY"),
        ("FROM busybox:test\nCOPY --form=x a b\n", 2, 6, "--form"),
        ("FROM busybox:test AS\n", 1, 19, "AS"),
        ("FROM busybox:test\nENV\n", 2, 1, "ENV"),
        ("RUN true\n", 1, 1, "RUN"),
        ("FROM busybox:test\nRUN --mount=type=cash,target=/x true\n", 2, 1, "cash"),
        ("FROM busybox:test\nENV A=${B\n", 2, 7, "${B"),
        ("FROM busybox:test\nEXPOSE 99999999\n", 2, 8, "99999999"),
        ("FROM busybox:test\nCOPY <<EOF /x\nnever ends\n", 2, 6, "EOF"),
    ],
)
def test_a_dockerfile_with_a_typo(
    nacre: Any, project: Path, look: Look, text: str, line: int, column: int, offending: str
) -> None:
    (project / "Dockerfile").write_text(text)
    result = nacre("build", "-t", "app", str(project), check=False)
    said = sentence(result)
    assert said.startswith(f"Dockerfile:{line}:"), result
    shown = result.err.split("nacre: ")[0]
    assert offending in shown + said, result
    assert "^" in shown, result
    assert said.startswith(f"Dockerfile:{line}:{column}:"), result
    look.same_content()


def test_a_missing_copy_source(nacre: Any, project: Path, look: Look) -> None:
    (project / "there").write_text("x")
    for source in ("missing", "there missing", "--from=busybox:test /missing", "none/there"):
        (project / "Dockerfile").write_text(f"FROM busybox:test\nCOPY {source} /x/\n")
        result = nacre("build", "-t", "app", str(project), check=False)
        said = sentence(result)
        assert said.startswith("Dockerfile:2:")
        assert source.split("/")[-1].split()[-1] in said
        look.same()


def test_a_command_that_fails(nacre: Any, project: Path, look: Look) -> None:
    (project / "Dockerfile").write_text("FROM busybox:test\nRUN echo > /x; exit 42\n")
    assert "42" in sentence(nacre("build", "-t", "app", str(project), check=False), (1, 42))
    look.same_content()


def damaged(tar: bytes) -> dict[str, bytes]:
    middle = len(tar) // 2
    return {
        "empty": b"", "noise": os.urandom(4096), "text": b"no tar at all\n" * 100,
        "cut": tar[:middle], "cut in a header": tar[:700],
        "bad header": tar[:1536] + b"\xff" * 512 + tar[2048:],
        "cut gzip": gzip.compress(tar, 1)[:-2000], "bad gzip": flipped(gzip.compress(tar, 1)),
        "gzip of noise": gzip.compress(os.urandom(4096)), "half a magic": b"\x1f\x8b", "json": b"{}",
    }  # fmt: skip


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(255 - byte for byte in data[middle : middle + 64]) + data[middle + 64 :]


KINDS = sorted(damaged(bytes(4096)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_tar(nacre: Any, look: Look, busybox_tar: bytes, kind: str) -> None:
    """By `import` and by `load`."""
    root = damaged(busybox_tar)[kind]
    archive = damaged(Image(busybox_tar).archive())[kind]
    sentence(nacre("import", "-", "bad:1", input=root, check=False))
    sentence(nacre("load", input=archive, check=False))
    look.same_content()


@pytest.mark.parametrize("kind", ["cut", "bad header", "cut gzip", "bad gzip", "noise"])
def test_a_corrupt_layer(nacre: Any, look: Look, busybox_tar: bytes, fake: FakeRegistry, kind: str) -> None:
    """The blob has the digest that the manifest names, and is no layer."""
    tar = Layer().file("a", os.urandom(3000)).file("b", os.urandom(9000)).bytes()
    data = damaged(tar)[kind]
    image = Image(tar)
    media_type = f"{OCI}.layer.v1.tar+gzip" if "gzip" in kind else f"{OCI}.layer.v1.tar"
    image.manifest["layers"] = [image.blob(data, media_type)]
    reference = image.publish(fake)
    for words, code in ((("pull", reference), 1), (("run", "--rm", reference), 125)):
        said = sentence(nacre(*words, check=False), code)
        assert digest_of(data)[7:19] in said, said
    sentence(nacre("load", input=image.archive(), check=False))
    look.same_content()


@pytest.mark.parametrize("what", ["manifest", "config", "layer", "diff id", "size", "index"])
def test_a_digest_that_lies(nacre: Any, look: Look, fake: FakeRegistry, what: str) -> None:
    """What comes is not what was named."""
    layer = Layer().file("f", os.urandom(5000)).bytes()
    image = Image(layer)
    if what == "diff id":
        config = json.loads(image.blobs[image.manifest["config"]["digest"]])
        config["rootfs"]["diff_ids"] = [digest_of(b"another")]
        image.manifest["config"] = image.blob(json.dumps(config).encode(), f"{OCI}.config.v1+json")
    if what == "size":
        image.manifest["layers"][0]["size"] -= 100
    reference = image.publish(fake)
    if what in ("config", "layer"):
        descriptor = image.manifest["config"] if what == "config" else image.manifest["layers"][0]
        data = fake.blobs["evil", descriptor["digest"]]
        fake.blobs["evil", descriptor["digest"]] = data[:-1] + bytes([data[-1] ^ 1])
    if what == "manifest":
        real = digest_of(image.document)
        fake.manifests["evil", real] = (fake.manifests["evil", real][0], image.document + b" ")
        reference = f"{fake.host}/evil@{real}"
    if what == "index":
        entry = {"mediaType": image.manifest["mediaType"], "digest": digest_of(b"x"), "size": 1}
        index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry]}
        fake.manifests["evil", digest_of(b"x")] = fake.manifests["evil", "1"]
        fake.add_manifest("evil", "1", json.dumps(index).encode(), f"{OCI}.index.v1+json")
    for words, code in ((("pull", reference), 1), (("run", reference), 125)):
        sentence(nacre(*words, check=False), code)
    look.same_content()


def test_an_archive_that_lies(nacre: Any, look: Look) -> None:
    image = Image(Layer().file("f", os.urandom(5000)).bytes())
    for digest in list(image.blobs):
        image.blobs[digest] = flipped(whole := image.blobs[digest])
        sentence(nacre("load", input=image.archive(), check=False))
        look.same_content()
        image.blobs[digest] = whole


FULL = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size={size},mode=0700 tmpfs {root}
exec "$@"
"""


class Small:
    """The command line with its store on a small disk, in a mount namespace of its own."""

    def __init__(self, nacre: Any, size: str) -> None:
        self.nacre, self.size = nacre, size
        nacre.root.mkdir(mode=0o700, exist_ok=True)

    def __call__(self, script: str, **files: bytes) -> subprocess.CompletedProcess[bytes]:
        """Run a shell script in which `nacre` is the command line."""
        for name, data in files.items():
            (self.nacre.folder / name).write_bytes(data)
        command = " ".join(f"'{word}'" for word in self.nacre.command())
        whole = FULL.format(size=self.size, root=self.nacre.root).replace('exec "$@"', "set +e")
        script = f'{whole}\nnacre() {{ {command} "$@"; }}\n{script}'
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], cwd=self.nacre.folder, env=self.nacre.env,
            capture_output=True, timeout=180, check=False,
        )  # fmt: skip


@pytest.fixture
def small(nacre: Any) -> Callable[[str], Small]:
    if not userns.mapped():
        pytest.skip("mounting a small disk for the store needs root")
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    return lambda size: Small(nacre, size)


@pytest.mark.parametrize("door", ["import", "load", "pull", "build", "run", "build-copy"])
def test_a_full_disk(
    small: Callable[[str], Small], fake: FakeRegistry, busybox_tar: bytes, door: str
) -> None:
    """The command says so and gives back what it took, so that the same disk is enough for something else."""
    big = Layer().file("big", os.urandom(12 << 20)).bytes()
    reference = Image(big).publish(fake)
    commands = {
        "import": "nacre import - big:1 < big.tar", "load": "nacre load -i big.oci", "pull": f"nacre pull {reference}",
        "build": "printf 'FROM busybox:1\\nRUN head -c 30000000 /dev/urandom > /x\\n' | nacre build -t big:1 -",
        "build-copy": "printf 'FROM busybox:1\\nCOPY big.tar /x\\n' | nacre build -t big:1 -f - .",
        "run": "nacre run --rm busybox:1 sh -c 'head -c 30000000 /dev/urandom > /x'",
    }  # fmt: skip
    script = f"""
    nacre import --change 'ENV PATH=/bin' - busybox:1 < busybox.tar >&2 || exit 1
    {commands[door]}
    echo "code $?"
    nacre system prune -f >&2 || exit 2
    echo "images" $(nacre images --format '{{{{.Repository}}}}:{{{{.Tag}}}}')
    echo "active" $(ls {small("1").nacre.root}/active {small("1").nacre.root}/trash {small("1").nacre.root}/containers)
    echo "run" $(nacre run --rm busybox:1 echo fine)
    nacre import - small:1 < small.tar >&2 && echo imported
    """
    done = small("16m")(
        script, **{"big.tar": big, "busybox.tar": busybox_tar, "big.oci": Image(big).archive("big:1"),
                   "small.tar": Layer().file("f", bytes(100_000)).bytes()}
    )  # fmt: skip
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == 0, out + err
    assert "Traceback" not in err, err
    assert "internal error" not in err, err
    assert "code 1\n" in out, out + err
    assert "o space left on device" in err or (door in ("run", "build") and "I/O error" in err), err
    assert "images busybox:1\n" in out, out
    assert "run fine\n" in out, out + err
    assert "imported" in out, out + err
    if door != "run":
        assert len([line for line in err.splitlines() if line.startswith("nacre: ")]) == 1, err


def test_a_disk_that_is_full_from_the_start(small: Callable[[str], Small], busybox_tar: bytes) -> None:
    place = small("600k")
    script = f"head -c 10000000 /dev/zero > {place.nacre.root}/filler; rm -f x; nacre images; echo $?"
    done = place(script)
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
    assert done.stderr.count(b"nacre: ") == 1, done.stderr
    assert done.stdout == b"1\n"


def test_output_that_nobody_reads(nacre: Any, look: Look) -> None:
    """`nacre save x | head -c 1`, and a standard output that is full."""
    process = nacre.start("save", "busybox:test")
    process.stdout.read(1)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (1, 141), err
    assert b"Traceback" not in err
    for words in (("images",), ("save", "busybox:test"), ("inspect", "busybox:test")):
        with open("/dev/full", "wb") as full:
            process = nacre.start(*words, stdout=full)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1, (words, err)
        assert b"Traceback" not in err
        assert err.count(b"nacre: ") == 1, err
    look.same_content()


def test_a_program_that_is_not_there(nacre: Any, look: Look) -> None:
    for words, code in (
        (("nothing",), 127), (("/nothing",), 127), (("/etc/passwd",), 126), (("/etc",), 126),
        (("sh", "-c", "exit 7"), 7), (("sh", "-c", "exit 125"), 125),
    ):  # fmt: skip
        result = nacre("run", "--rm", "busybox:test", *words, check=False)
        assert result.code == code, result
        if code in (126, 127):
            sentence(result, code)
    look.same_content()
