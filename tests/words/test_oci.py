from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.words import oci
from nacre.words.digest import Digest
from nacre.words.errors import InvalidDocument, InvalidName, NacreError, TooLarge
from nacre.words.oci import Descriptor, ImageConfig, Index, Manifest, Platform, decode_json, parse_document

DIGEST = Digest.of(b"x")
LAYER = Descriptor(oci.OCI_LAYER_GZIP, DIGEST, 5, annotations=(("k", "v"),))
CONFIG = Descriptor(oci.OCI_CONFIG, Digest.of(b"c"), 7)


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("Linux/AMD64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("linux/armv7l", Platform("linux", "arm", "v7")),
        ("windows/amd64", Platform("windows", "amd64")),
        ("arm64", Platform("linux", "arm64")),
        ("armv7l", Platform("linux", "arm", "v7")),
        ("linux", Platform.host()),
    ],
)
def test_platforms(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert Platform.parse(str(platform)) == platform
    assert Platform.from_json(platform.to_json()) == platform


@pytest.mark.parametrize(
    "text", ["", "lynx", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/..", "linux/٣"]
)
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidName):
        Platform.parse(text)


def test_host_platform() -> None:
    assert Platform.host().os == "linux"
    assert Platform.parse(str(Platform.host())) == Platform.host()


def test_manifest_round_trip() -> None:
    manifest = Manifest(
        oci.OCI_MANIFEST, CONFIG, (LAYER, LAYER), (("a", "b"),), subject=LAYER, artifact_type="x/y"
    )
    assert parse_document(manifest.encode()) == manifest
    assert parse_document(manifest.encode(), oci.OCI_MANIFEST) == manifest
    assert manifest.encode() == parse_document(manifest.encode()).encode()


def test_index_round_trip() -> None:
    entry = Descriptor(
        oci.OCI_MANIFEST, DIGEST, 3, Platform("linux", "arm", "v7", "1.0"), artifact_type="x/y"
    )
    index = Index(oci.OCI_INDEX, (entry,), (("a", "b"),), subject=LAYER)
    assert parse_document(index.encode(), oci.OCI_INDEX) == index


def document(**fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


def test_media_type_may_come_from_the_transport() -> None:
    data = document(config=CONFIG.to_json(), layers=[])
    assert parse_document(data, oci.DOCKER_MANIFEST).media_type == oci.DOCKER_MANIFEST
    assert parse_document(data).media_type == oci.OCI_MANIFEST
    assert parse_document(data, "application/json").media_type == oci.OCI_MANIFEST
    assert isinstance(parse_document(document(manifests=[])), Index)


ENTRY = LAYER.to_json()


@pytest.mark.parametrize(
    ("data", "media_type", "message"),
    [
        (b"", "", "not valid JSON"),
        (b"[]", "", "must be of type dict"),
        (b"\xff", "", "not valid JSON"),
        (b"[" * 100_000, "", "not valid JSON"),
        (document(schemaVersion=1), "", "schema 1"),
        (b"{}", oci.DOCKER_SCHEMA1[1], "schema 1"),
        (b"{}", "", "schemaVersion None"),
        (document(config=ENTRY, layers=[], manifests=[]), "", "both a manifest and an index"),
        (document(layers=[], manifests=[ENTRY]), oci.OCI_INDEX, "both a manifest and an index"),
        (document(manifests=[]), oci.OCI_MANIFEST, "does not have this format"),
        (document(config=ENTRY, layers=[]), oci.DOCKER_INDEX, "does not have this format"),
        (document(mediaType=oci.OCI_INDEX, config=ENTRY, layers=[]), "", "does not have this format"),
        (document(mediaType=oci.OCI_MANIFEST, config=ENTRY, layers=[]), oci.DOCKER_MANIFEST, "was served as"),
        (document(config=ENTRY, layers={"a": 1}), "", "must be of type"),
        (document(config=ENTRY, layers=[5]), "", "descriptor must be of type dict"),
        (document(layers=[]), "", "descriptor must be of type dict"),
        (document(mediaType=7, manifests=[]), "", "mediaType must be of type str"),
        (document(manifests=[{**ENTRY, "digest": "sha256:../../x"}]), "", "invalid digest"),
        (document(manifests=[{**ENTRY, "digest": 5}]), "", "digest must be of type str"),
        (document(manifests=[{**ENTRY, "size": -1}]), "", "no valid size"),
        (document(manifests=[{**ENTRY, "size": True}]), "", "no valid size"),
        (document(manifests=[{**ENTRY, "size": 1.5}]), "", "no valid size"),
        (document(manifests=[{**ENTRY, "size": 1 << 70}]), "", "no valid size"),
        (document(manifests=[{**ENTRY, "platform": []}, {**ENTRY, "platform": "x"}]), "", "platform must be"),
        (document(manifests=[{**ENTRY, "annotations": {"a": 1}}]), "", "annotations must be of type str"),
        (document(manifests=[], annotations=[1]), "", "annotations must be of type dict"),
    ],
)
def test_bad_documents(data: bytes, media_type: str, message: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_document(data, media_type)
    assert message in caught.value.message
    assert len(caught.value.message) < 1000


def test_a_document_is_bounded() -> None:
    with pytest.raises(TooLarge):
        parse_document(b" " * (oci.MAX_DOCUMENT + 1))


def test_urls_and_data_of_a_descriptor_are_ignored() -> None:
    with_urls = {**ENTRY, "urls": ["http://169.254.169.254/"], "data": "eA=="}
    assert Descriptor.from_json(with_urls) == LAYER


def test_descriptor_of() -> None:
    assert Descriptor.of(b"abc", "text/plain") == Descriptor("text/plain", Digest.of(b"abc"), 3)


CONFIG_JSON = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-01-01T00:00:00Z",
    "unknown": {"kept": True},
    "config": {"Env": ["A=1"], "Cmd": ["sh"], "Entrypoint": None, "User": "u:g", "WorkingDir": "/srv",
               "Labels": {"l": "1"}},
    "rootfs": {"type": "layers", "diff_ids": [str(DIGEST)]},
    "history": [{"created_by": "x"}, {"empty_layer": True}],
}  # fmt: skip


def test_image_config() -> None:
    config = ImageConfig.from_json(CONFIG_JSON)
    assert config.platform == Platform("linux", "amd64")
    assert config.diff_ids == (DIGEST,)
    assert (config.env, config.cmd, config.entrypoint) == (["A=1"], ["sh"], [])
    assert (config.user, config.working_dir, config.labels) == ("u:g", "/srv", {"l": "1"})
    assert config.created == "2024-01-01T00:00:00Z"
    assert len(config.history) == 2
    assert json.loads(config.encode()) == CONFIG_JSON


def test_an_empty_config_has_defaults() -> None:
    config = ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": None, "rootfs": None})
    assert (config.env, config.cmd, config.user, config.working_dir, config.labels) == ([], [], "", "/", {})
    assert (config.diff_ids, config.history, config.created) == ((), [], "")


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"config": {"Labels": {"a": None, "b": "1"}}}, {"config": {"Labels": {"a": "", "b": "1"}}}),
        ({"config": {"Env": ["A=1", None]}}, {"config": {"Env": ["A=1", ""]}}),
        ({"config": {"Cmd": [None], "Entrypoint": [None, "x"]}},
         {"config": {"Cmd": [""], "Entrypoint": ["", "x"]}}),
        ({"config": {"Shell": [None], "OnBuild": [None]}}, {"config": {"Shell": [""], "OnBuild": [""]}}),
        ({"config": {"Cmd": "sh", "Entrypoint": "/in"}}, {"config": {"Cmd": ["sh"], "Entrypoint": ["/in"]}}),
        ({"config": {"Volumes": {"/v": None}, "ExposedPorts": None}},
         {"config": {"Volumes": {"/v": None}, "ExposedPorts": None}}),
        ({"config": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": None}}},
         {"config": {"Healthcheck": {"Test": ["CMD", "x"]}}}),
        ({"config": {"User": None, "WorkingDir": None, "StopSignal": None, "Env": None}}, None),
        ({"history": [{"created_by": "x"}, None, {"comment": None, "empty_layer": None}]},
         {"history": [{"created_by": "x"}, {}, {}]}),
        ({"history": None, "created": None, "author": None, "os.features": [None]}, None),
    ],
)  # fmt: skip
def test_null_counts_as_go_reads_it(changes: dict[str, Any], seen: dict[str, Any] | None) -> None:
    """What docker, containerd and podman take for an empty value must not make an image unreadable."""
    config = ImageConfig.from_json(CONFIG_JSON | changes)
    assert config.raw == CONFIG_JSON | (changes if seen is None else seen)
    assert ImageConfig.from_json(config.raw) == config
    assert all(isinstance(text, str) for text in [*config.env, *config.cmd, *config.labels.values()])


def test_null_among_annotations() -> None:
    fields = json.loads(Manifest(oci.OCI_MANIFEST, CONFIG, (LAYER,)).encode())
    fields["annotations"] = {"a": None, "b": "1"}
    fields["layers"][0]["annotations"] = {"k": None}
    manifest = parse_document(json.dumps(fields).encode())
    assert manifest.annotations == (("a", ""), ("b", "1"))
    assert isinstance(manifest, Manifest)
    assert manifest.layers[0].annotations == (("k", ""),)


@pytest.mark.parametrize(
    "changes",
    [{"config": ["x"]}, {"config": {"Env": "A=1"}}, {"config": {"Env": [1]}}, {"config": {"Cmd": {"a": 1}}},
     {"config": {"User": 0}}, {"config": {"Labels": ["x"]}}, {"config": {"Labels": {"a": 1}}},
     {"rootfs": ["x"]}, {"rootfs": {"diff_ids": ["x"]}}, {"rootfs": {"diff_ids": "x"}},
     {"history": {"a": 1}}, {"history": ["x"]},
     {"os": 1}, {"config": {"Volumes": ["/x"]}}, {"config": {"ExposedPorts": "80"}}],
)  # fmt: skip
def test_bad_configs(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidDocument):
        ImageConfig.from_json(CONFIG_JSON | changes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KEYS = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "annotations",
    "subject",
    "rootfs",
    "history",
]


@given(st.dictionaries(st.sampled_from(KEYS), JSON | st.just(2) | st.just([ENTRY]) | st.just(ENTRY)))
def test_any_document_is_read_or_refused(fields: dict[str, Any]) -> None:
    for read in (parse_document, ImageConfig.parse):
        try:
            read(json.dumps(fields).encode())  # type: ignore[operator]
        except NacreError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decode_json(data, "x")
    except InvalidDocument:
        return
