"""Edits of image configs are pure and repeatable."""

from __future__ import annotations

import pytest

from nacre.images.model.edit import (
    append_history,
    append_layer,
    apply_change,
    make_manifest,
    new_config,
    with_env,
    with_fields,
    with_run,
)
from nacre.words.digest import Digest
from nacre.words.durations import nanoseconds
from nacre.words.errors import UsageError
from nacre.words.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Platform,
)

AMD64 = Platform("linux", "amd64")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


def empty() -> ImageConfig:
    return new_config(AMD64, created="2024-01-02T03:04:05Z")


def changed(*texts: str) -> dict:
    config = empty()
    for text in texts:
        config = apply_change(config, text)
    return dict(config.run)


def test_a_new_config_has_the_platform_and_no_layers():
    config = new_config(Platform("linux", "arm", "v7"), author="me")
    assert config.platform == Platform("linux", "arm", "v7")
    assert config.diff_ids == ()
    assert config.raw["author"] == "me"
    assert "created" not in config.raw


def test_layers_and_history_grow_together():
    config = append_layer(empty(), ONE, "RUN one", created="2025-01-01T00:00:00Z")
    config = append_history(config, "CMD x")
    config = append_layer(config, TWO, "RUN two", comment="c", author="a")
    assert config.diff_ids == (ONE, TWO)
    assert config.created == "2025-01-01T00:00:00Z"
    assert list(config.history) == [
        {"created": "2025-01-01T00:00:00Z", "created_by": "RUN one"},
        {"created_by": "CMD x", "empty_layer": True},
        {"author": "a", "created_by": "RUN two", "comment": "c"},
    ]


def test_edits_leave_what_they_do_not_know():
    config = ImageConfig.from_json({"os": "linux", "architecture": "amd64", "x-custom": {"a": 1}})
    assert append_layer(config, ONE, "").raw["x-custom"] == {"a": 1}
    assert with_run(config, Cmd=["x"]).raw["x-custom"] == {"a": 1}


def test_an_edit_returns_a_new_config():
    config = empty()
    with_run(config, Cmd=["x"])
    append_layer(config, ONE, "")
    assert config == empty()


def test_equal_edits_give_equal_bytes():
    one = with_fields(append_layer(with_run(empty(), User="u"), ONE, "x"), author="me")
    two = append_layer(with_fields(with_run(empty(), User="u"), author="me"), ONE, "x")
    assert one.encode() == two.encode()


def test_none_takes_a_field_out():
    config = with_run(with_run(empty(), Cmd=["x"], User="u"), Cmd=None)
    assert dict(config.run) == {"User": "u"}
    assert "created" not in with_fields(empty(), created=None).raw


def test_env_keeps_its_place():
    config = with_run(empty(), Env=["A=1", "B=2"])
    assert with_env(with_env(config, "A", "3"), "C", "x=y").env == ["A=3", "B=2", "C=x=y"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('CMD ["a","b c"]', {"Cmd": ["a", "b c"]}),
        ("CMD echo $HOME", {"Cmd": ["/bin/sh", "-c", "echo $HOME"]}),
        ('entrypoint ["/x"]', {"Entrypoint": ["/x"]}),
        ("ENV A=1 B='x y'", {"Env": ["A=1", "B=x y"]}),
        ("ENV A one two", {"Env": ["A=one two"]}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        ("LABEL a=1 \"b.c\"='d e'", {"Labels": {"a": "1", "b.c": "d e"}}),
        ("USER me:us", {"User": "me:us"}),
        ("WORKDIR sub/../x", {"WorkingDir": "/x"}),
        ('VOLUME ["/a","/b"]', {"Volumes": {"/a": {}, "/b": {}}}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ("STOPSIGNAL SIGQUIT", {"StopSignal": "SIGQUIT"}),
        ('SHELL ["/bin/bash", "-c"]', {"Shell": ["/bin/bash", "-c"]}),
        ("ONBUILD RUN echo x", {"OnBuild": ["RUN echo x"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            'HEALTHCHECK --interval=1m30s --retries=3 CMD ["/bin/ok"]',
            {"Healthcheck": {"Test": ["CMD", "/bin/ok"], "Interval": 90 * 10**9, "Retries": 3}},
        ),
        ("HEALTHCHECK CMD test -e /x", {"Healthcheck": {"Test": ["CMD-SHELL", "test -e /x"]}}),
    ],
)
def test_changes(text: str, expected: dict):
    assert changed(text) == expected


def test_changes_see_the_environment_and_add_up():
    run = changed("ENV A=1", "ENV B=$A/${A}", "LABEL x=$B", "WORKDIR /w", "WORKDIR v", "EXPOSE 1", "EXPOSE 2")
    assert run["Env"] == ["A=1", "B=1/1"]
    assert run["Labels"] == {"x": "1/1"}
    assert run["WorkingDir"] == "/w/v"
    assert run["ExposedPorts"] == {"1/tcp": {}, "2/tcp": {}}


@pytest.mark.parametrize(
    "text",
    ["RUN x", "FROM scratch", "COPY a b", "nonsense", "ENV", "USER", "ONBUILD", "HEALTHCHECK",
     "HEALTHCHECK CMD", "HEALTHCHECK --interval=fast CMD x", "HEALTHCHECK --what=1s CMD x",
     "LABEL ${x?no}=1"],
)  # fmt: skip
def test_bad_changes_are_refused_with_a_sentence(text: str):
    with pytest.raises(UsageError) as caught:
        apply_change(empty(), text)
    assert caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1s", 10**9), ("1.5h", 5400 * 10**9), ("1m30s", 90 * 10**9), ("250ms", 250 * 10**6), ("", 0)],
)
def test_durations(text: str, expected: int):
    assert nanoseconds(text) == expected


@pytest.mark.parametrize("text", ["s", "1", "1x", "1.2.3s", "1 s", "-1s"])
def test_bad_durations(text: str):
    with pytest.raises(UsageError):
        nanoseconds(text)


def test_a_manifest_speaks_the_words_of_one_family():
    layers = [Descriptor(DOCKER_LAYER_GZIP, ONE, 1), Descriptor(OCI_LAYER_ZSTD, TWO, 2)]
    config = append_layer(append_layer(empty(), ONE, ""), TWO, "")
    manifest, data = make_manifest(config, layers)
    assert manifest.media_type == OCI_MANIFEST
    assert manifest.config == Descriptor.of(data, OCI_CONFIG)
    assert [layer.media_type for layer in manifest.layers] == [OCI_LAYER_GZIP, OCI_LAYER_ZSTD]
    docker, _ = make_manifest(config, layers[:1], media_type=DOCKER_MANIFEST)
    assert docker.config.media_type == DOCKER_CONFIG
    assert docker.layers[0].media_type == DOCKER_LAYER_GZIP


def test_a_config_keeps_its_bytes_when_they_are_given():
    data = b'{ "os":"linux", "architecture":"amd64" }'
    manifest, kept = make_manifest(ImageConfig.parse(data), [], config_data=data)
    assert kept == data
    assert manifest.config.digest == Digest.of(data)
