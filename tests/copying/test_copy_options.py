"""skopeo's options of `copy`: each works, or is refused by a sentence."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from copykit import Image, put_index
from fakeregistry import Exchange, FakeRegistry

from nacre.cli.context import Context
from nacre.cli.copy import COMMAND
from nacre.cli.ends import Ends
from nacre.cli.options import Args
from nacre.engine import Config
from nacre.engine.network import NetworkSettings, client_of
from nacre.images.places.layout import LayoutFolder
from nacre.images.places.place import Place
from nacre.services.client import ClientConfig
from nacre.words.digest import Digest
from nacre.words.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_MANIFEST

IMAGE = Image("one")


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """A folder with two platforms as `both`, and one image as `one`."""
    folder = LayoutFolder(str(tmp_path / "lay"))
    put_index(folder, "both", *(Image("shared", name, architecture=name) for name in ("amd64", "arm64")))
    IMAGE.put(folder, "one")
    folder.close()
    return "oci:lay"


def guard(fake: FakeRegistry, header: str) -> FakeRegistry:
    """Let it want this `Authorization`."""

    def check(x: Exchange) -> bool:
        if x.headers.get("authorization") == header:
            return False
        x.body()
        challenge = 'Basic realm="x"' if header.startswith("Basic") else 'Bearer realm="/token"'
        return x.reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', www_authenticate=challenge)

    for verb in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        fake.on(verb, "/v2/", check, times=1000)
    return fake


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


def filled(fake: FakeRegistry) -> str:
    """An image in a registry; its place."""
    for data in IMAGE.blobs.values():
        fake.add_blob("app", data)
    fake.add_manifest("app", "1", IMAGE.data, OCI_MANIFEST)
    return f"docker://{fake.host}/app:1"


def test_each_end_has_its_own_user(nacre: Any, fake: FakeRegistry, other: FakeRegistry) -> None:
    source, target = filled(guard(fake, basic("a:1"))), f"docker://{guard(other, basic('b:2')).host}/copy:1"
    nacre("copy", "--src-creds", "a:1", "--dest-creds=b:2", source, target)
    assert other.manifests["copy", "1"] == (OCI_MANIFEST, IMAGE.data)
    nacre("copy", "--src-username", "a", "--src-password", "1", "--dest-creds", "b:2", source, target)
    swapped = nacre("copy", "--src-creds", "b:2", "--dest-creds", "a:1", source, target, check=False)
    assert "access to" in swapped.err
    for words in ([], ["--src-no-creds"]):
        refused = nacre("copy", *words, "--dest-creds", "b:2", source, target, check=False)
        assert refused.code == 1


def test_a_token_and_files_of_credentials(
    nacre: Any, fake: FakeRegistry, layout: str, tmp_path: Path
) -> None:
    guard(fake, "Bearer ready")
    nacre("copy", "--dest-registry-token", "ready", f"{layout}:one", f"docker://{fake.host}/app:1")
    assert ("app", "1") in fake.manifests
    fake._faults.clear()
    guard(fake, basic("me:pw"))
    auths = {"auths": {fake.host: {"auth": basic("me:pw")[6:]}}}
    (tmp_path / "auth.json").write_text(json.dumps(auths))
    for option in ("--authfile", "--dest-authfile"):
        fake.manifests.clear()
        nacre("copy", option, "auth.json", f"{layout}:one", f"docker://{fake.host}/app:1")
        assert ("app", "1") in fake.manifests
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker/config.json").write_text(json.dumps(auths))
    fake.manifests.clear()
    nacre("copy", f"{layout}:one", f"docker://{fake.host}/app:1")
    stranger = nacre("copy", "--dest-no-creds", f"{layout}:one", f"docker://{fake.host}/app:2", check=False)
    assert stranger.code == 1


def test_a_digest_in_a_file_and_more_names(nacre: Any, layout: str, tmp_path: Path) -> None:
    nacre(
        "copy", "--digestfile", "digest", "--additional-tag", "other:2", "--additional-tag", "x.example/y:3",
        f"{layout}:one", "docker-archive:out.tar:app:1",
    )  # fmt: skip
    assert (tmp_path / "digest").read_text() == IMAGE.descriptor.digest
    with tarfile.open(tmp_path / "out.tar") as tar:
        (row,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert row["RepoTags"] == ["app:1", "other:2", "x.example/y:3"]


@pytest.mark.parametrize(
    ("words", "asked"), [([], 5), (["--retry-times", "0"], 1), (["--retry-times", "2"], 3)]
)
def test_how_often_to_try(nacre: Any, fake: FakeRegistry, words: list[str], asked: int) -> None:
    fake.on("GET", "/manifests/", lambda x: x.reply(503), times=100)
    failed = nacre(
        "copy", "--retry-delay", "1ms", *words, f"docker://{fake.host}/app:1", "oci:x", check=False
    )
    assert failed.code == 1
    assert len(fake.sent("GET", "/manifests/")) == asked


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["--override-arch=amd64", "--format", "v2s2"], DOCKER_MANIFEST),
        (["--override-arch=amd64", "-f", "docker"], DOCKER_MANIFEST),
        (["--override-arch=amd64", "--format", "oci"], OCI_MANIFEST),
        (["--format", "v2s2", "--all"], DOCKER_INDEX),
        (["--multi-arch", "all", "-f", "v2s2"], DOCKER_INDEX),
    ],
)
def test_the_kind_of_manifest(
    nacre: Any, fake: FakeRegistry, layout: str, words: list[str], kind: str, peer: Callable[..., None]
) -> None:
    nacre("copy", *words, f"{layout}:both", f"docker://{fake.host}/app:1")
    media_type, data = fake.manifests["app", "1"]
    assert media_type == kind
    assert json.loads(data)["mediaType"] == kind
    peer("skopeo")
    line = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{fake.host}/app:1"]
    assert Digest.of(subprocess.run(line, capture_output=True, check=True).stdout) == Digest.of(data)


def test_platforms(nacre: Any, layout: str) -> None:
    def digest(*words: str) -> str:
        return str(nacre("copy", "-q", *words, f"{layout}:both", "oci:out:1").out)

    arm = digest("--platform", "linux/arm64")
    assert digest("--override-arch", "arm64") == digest("--override-os=linux", "--override-arch=arm64") == arm
    assert digest("--all") == digest("--multi-arch", "all") != arm
    assert (
        "linux/riscv64"
        in nacre("copy", "--override-arch", "riscv64", f"{layout}:both", "oci:no", check=False).err
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "v2s1"], "withdrawn"),
        (["--format", "v2s3"], "expected docker"),
        (["--preserve-digests", "--format", "v2s2"], "--preserve-digests excludes"),
        (["--all", "--platform", "linux/arm64"], "mutually exclusive"),
        (["--all", "--override-arch", "arm64"], "mutually exclusive"),
        (["--platform", "linux/arm64", "--override-arch", "arm64"], "mutually exclusive"),
        (["--all", "--multi-arch", "system"], "mutually exclusive"),
        (["--multi-arch", "index-only"], "without its images"),
        (["--additional-tag", "x:1"], "for a docker-archive"),
        (["--src-creds", "a:b"], "is for a registry, and this is oci:lay:one"),
        (["--src-tls-verify=false"], "is for a registry"),
        (["--src-daemon-host", "unix:///x"], "is for docker-daemon:"),
        (["--dest-creds", "a:b", "--dest-no-creds"], "mutually exclusive"),
        (["--dest-username", "a"], "go together"),
        (["--dest-creds", ":b"], "has no user"),
        (["--dest-authfile", "none.json"], "credentials file none.json does not exist"),
        (["--dest-cert-dir", "none"], "no certificates in none"),
        (["--retry-times", "-1"], "must not be negative"),
        (["--retry-delay", "soon"], "invalid --retry-delay"),
        (["--image-parallel-copies", "0"], "at least 1"),
        (["--remove-signatures", "--referrers"], "mutually exclusive"),
        (["--sign-by", "me"], "does not sign"),
        (["--encryption-key", "jwe:x"], "does not encrypt"),
        (["--decryption-key", "x"], "does not decrypt"),
        (["--dest-compress"], "blobs are copied unchanged"),
        (["--dest-compress-format", "zstd"], "blobs are copied unchanged"),
        (["--dest-decompress"], "blobs are copied unchanged"),
        (["--dest-shared-blob-dir", "x"], "its own blobs"),
        (["--tmpdir", "/x"], "cannot be chosen"),
        (["--command-timeout", "5s"], "no time limit"),
        (["--policy", "x"], "does not verify signatures"),
    ],
)
def test_what_is_refused(
    nacre: Any, fake: FakeRegistry, layout: str, words: list[str], said: str, tmp_path: Path
) -> None:
    refused = nacre("copy", *words, f"{layout}:one", f"docker://{fake.host}/app:1", check=False)
    assert refused.code == 1
    assert said in refused.err
    assert fake.manifests == {}


def test_what_is_so_anyway(nacre: Any, fake: FakeRegistry, layout: str) -> None:
    nacre(
        "copy", "--remove-signatures", "--dest-precompute-digests", "--insecure-policy",
        "--multi-arch=system", "--image-parallel-copies", "2", "--dest-tls-verify=false", f"{layout}:one",
        f"docker://{fake.host}/app:1",
    )  # fmt: skip
    assert fake.manifests["app", "1"] == (OCI_MANIFEST, IMAGE.data)


def test_every_option_of_skopeo_is_known(peer: Callable[..., None]) -> None:
    peer("skopeo")
    known = {option.name for option in COMMAND.options} | {"help"}
    line = ["skopeo", "copy", "--help"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", shown, re.MULTILINE)) - known == set()


def ends(words: dict[str, object], *, given: set[str]) -> Ends:
    args = Args("copy", COMMAND.options)
    args.__dict__.update(words)
    args.given = given
    return Ends(Context({}), args)


def _client(ends: Ends, side: str, place: str) -> ClientConfig:
    network = ends.network(side, Place.parse(place))
    with client_of(Config("/nowhere"), network or NetworkSettings()) as client:
        return client.config


def test_registries_are_trusted_one_by_one(tmp_path: Path) -> None:
    """Neither the other end nor anything else becomes insecure, and certificates count for one host alone."""
    (tmp_path / "ca.crt").write_text("x")
    given = {"src_tls_verify", "src_cert_dir", "src_creds"}
    found = ends({"src_tls_verify": False, "src_cert_dir": str(tmp_path), "src_creds": "me:pw"}, given=given)
    one = _client(found, "src", "docker://one.example/a")
    assert set(one.insecure) == {"one.example"}
    assert one.certificates("one.example").authorities == (f"{tmp_path}/ca.crt",)
    assert one.certificates("two.example").authorities == ()
    user = one.credentials("one.example/a")
    assert user is not None
    assert (user.username, user.password) == ("me", "pw")
    assert not one.credentials("two.example/a")
    two = _client(found, "dest", "two.example/b")
    assert (set(two.insecure), two.credentials("one.example/a")) == (set(), None)
