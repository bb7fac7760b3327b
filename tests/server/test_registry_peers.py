"""Other people's tools against the registry. Each test is skipped, visibly, where its tool is absent."""

import json
import subprocess

import pytest
from registries import registry_process

from nacre.words.oci import OCI_INDEX, OCI_MANIFEST

DEADLINE = 60


@pytest.fixture
def skopeo(tmp_path, peer):
    """Run skopeo with the options that loopback and an ordinary user need; gives what it prints."""
    peer("skopeo")

    def run(verb, *arguments):
        command = ["skopeo", "--insecure-policy", "--tmpdir", str(tmp_path), verb, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def place(api):
    """skopeo's name of an image in the registry."""
    return lambda name: f"docker://{api.address}/{name}"


@pytest.fixture
def layout(tmp_path, make):
    """An OCI layout with one image, made by hand; gives its folder and its manifest."""
    folder = tmp_path / "layout"
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    layer, config = make.layer(b"x" * 1_000_000), make.config(b"x" * 1_000_000)
    manifest = json.dumps(make.manifest(config, [layer])).encode()
    for data in (layer, config, manifest):
        (blobs / make.digest(data).partition(":")[2]).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = make.descriptor(manifest, OCI_MANIFEST, annotations={"org.opencontainers.image.ref.name": "tag"})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{folder}:tag", manifest


def test_skopeo_brings_an_image_and_takes_it_again(skopeo, place, layout, api, make, tmp_path):
    source, manifest = layout
    skopeo("copy", "--dest-tls-verify=false", source, place("lib/app:1"))
    assert api("GET", "lib/app/manifests/1").body == manifest
    skopeo("copy", "--src-tls-verify=false", place("lib/app:1"), f"oci:{tmp_path}/out:tag")
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert [entry["digest"] for entry in index["manifests"]] == [make.digest(manifest)]


def test_skopeo_looks(skopeo, place, layout, make):
    source, manifest = layout
    for name in ("lib/app:1", "lib/app:2"):
        skopeo("copy", "--dest-tls-verify=false", source, place(name))
    assert json.loads(skopeo("list-tags", "--tls-verify=false", place("lib/app")))["Tags"] == ["1", "2"]
    assert json.loads(skopeo("inspect", "--tls-verify=false", place("lib/app:1")))["Digest"] == make.digest(
        manifest
    )


def test_skopeo_sends_nothing_twice(skopeo, place, layout, api, make):
    source, manifest = layout
    skopeo("copy", "--dest-tls-verify=false", source, place("a:1"))
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", place("a:1"), place("b:1"))
    assert api("GET", "b/manifests/1").body == manifest


@pytest.mark.parametrize(
    "options", [("--format", "v2s2"), ("--dest-compress-format", "zstd"), ("--format", "oci")]
)
def test_skopeo_in_other_clothes(skopeo, place, layout, options, tmp_path):
    source, _ = layout
    skopeo("copy", "--dest-tls-verify=false", *options, source, place("app:1"))
    skopeo("copy", "--src-tls-verify=false", place("app:1"), f"dir:{tmp_path}/out")


def test_skopeo_deletes(skopeo, place, layout, api, make):
    source, manifest = layout
    skopeo("copy", "--dest-tls-verify=false", source, place("app:1"))
    skopeo("delete", "--tls-verify=false", place("app:1"))
    assert api("GET", f"app/manifests/{make.digest(manifest)}").status == 404


def test_skopeo_copies_an_index_with_all_its_images(skopeo, place, api, make, tmp_path):
    images = [api.push_image("app", f"v{number}", b"%d" % number) for number in range(2)]
    index = make.index(*((image.data, OCI_MANIFEST) for image in images))
    for entry, machine in zip(index["manifests"], ("amd64", "arm64"), strict=True):
        entry["platform"] = {"os": "linux", "architecture": machine}
    api.put_manifest("app", "all", index, OCI_INDEX)
    both = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", "--all", *both, place("app:all"), place("copy:all"))
    assert api("GET", "copy/manifests/all").json == index
    assert api("GET", f"copy/manifests/{images[1].digest}").body == images[1].data


@pytest.fixture
def docker_registry(tmp_path):
    """A `docker-registry` on loopback; gives its address."""
    yield from registry_process(tmp_path)


def test_there_and_back_by_dockers_registry(skopeo, place, layout, docker_registry, api):
    source, manifest = layout
    both = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", "--dest-tls-verify=false", source, place("app:1"))
    skopeo("copy", *both, place("app:1"), f"docker://{docker_registry}/app:1")
    skopeo("copy", *both, f"docker://{docker_registry}/app:1", place("back:1"))
    assert api("GET", "back/manifests/1").body == manifest


def test_statuses_are_those_of_dockers_registry(api, api_of, docker_registry, make):
    absent, digest = "sha256:" + "0" * 64, make.digest(b"data")
    other = api_of(f"http://{docker_registry}")
    for target in (api, other):
        location = target.begin("a").removeprefix(target.url)
        joint = "&" if "?" in location else "?"
        assert target("PUT", f"{location}{joint}digest={digest}", b"data").status == 201
    for method, path, body in (
        ("GET", "/v2/", None),
        ("GET", "none/tags/list", None),
        ("GET", f"a/blobs/{absent}", None),
        ("HEAD", f"a/blobs/{digest}", None),
        ("GET", f"b/blobs/{digest}", None),
        ("POST", f"b/blobs/uploads/?mount={digest}&from=a", None),
        ("POST", f"b/blobs/uploads/?mount={absent}&from=a", None),
        ("PUT", "a/manifests/x", b"{"),
        ("GET", "a/manifests/x", None),
        ("PUT", "a/tags/list", b""),
    ):
        assert api(method, path, body).status == other(method, path, body).status, (method, path)


def test_others_log_in(skopeo, place, layout, api, serving, tmp_path, peer):
    """With a password by skopeo, with a token by podman, and for what is public without any."""
    pytest.importorskip("sqlalchemy")
    from nacre.engine.accounts import RegistryAccounts

    source, manifest = layout
    with RegistryAccounts(str(tmp_path / "registry"), "test") as accounts:
        accounts.add_user("alice", "correct horse", admin=True)
        accounts.set_namespace("alice/open", public=True)
        _, secret = accounts.add_token("alice", role="read")
    creds = "--dest-creds=alice:correct horse"
    for name in ("alice/open:1", "alice/own:1"):
        skopeo("copy", "--dest-tls-verify=false", creds, source, place(name))
    assert (
        skopeo("inspect", "--raw", "--tls-verify=false", "--no-creds", place("alice/open:1"))
        == manifest.decode()
    )
    refused = ["skopeo", "inspect", "--tls-verify=false", "--no-creds", place("alice/own:1")]
    done = subprocess.run(refused, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert "unauthorized" in done.stderr
    peer("podman")
    words = ["podman", "login", "--tls-verify=false", f"--authfile={tmp_path}/auth.json", "--password-stdin"]
    for password, wanted in (("wrong", 125), (secret, 0)):
        command = [*words, "-u", "alice", api.address]
        done = subprocess.run(
            command, input=password, capture_output=True, text=True, timeout=DEADLINE, check=False
        )
        assert done.returncode == wanted, done.stderr
