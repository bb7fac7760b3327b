"""A registry, by its name, into another one that is served: what comes, what stays, what fails."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from fakeregistry import Exchange, FakeRegistry

from nacre.cli.context import Context
from nacre.cli.options import parse
from nacre.cli.registry import IMPORT
from nacre.services.server import RunningServer
from nacre.words.errors import RegistryError, UsageError
from nacre.words.oci import OCI_INDEX


@pytest.fixture
def target(tmp_path: Path, api_of: Any) -> Iterator[Any]:
    with RunningServer(str(tmp_path / "target")) as running:
        yield api_of(running.url)


@pytest.fixture
def bring(tmp_path: Path, target: Any) -> Callable[..., SimpleNamespace]:
    """Runs the command; its exit code and what it said."""

    def run(source: str, *words: str, to: str = "") -> SimpleNamespace:
        streams = io.StringIO(), io.StringIO(), io.StringIO()
        variables = {"HOME": str(tmp_path), "PATH": "/nowhere", "NACRE_ROOT": str(tmp_path / "store")}
        place = to or urlsplit(target.url).netloc
        args = parse(IMPORT, [*words, "--to", place, source], "registry import")
        with Context(variables, streams=streams) as context:
            code = IMPORT.run(context, args)
        return SimpleNamespace(code=code, out=streams[1].getvalue(), err=streams[2].getvalue())

    return run


def push_index(api: Any, name: str, tag: str, make: SimpleNamespace, **extra: Any) -> bytes:
    import json

    child = api.push_image(name, f"{tag}-amd64")
    data = json.dumps(make.index((child.data, "application/vnd.oci.image.manifest.v1+json")) | extra).encode()
    assert api.put_manifest(name, tag, data, OCI_INDEX).status == 201
    return data


def test_everything_comes_with_its_digests(
    api: Any, target: Any, bring: Callable[..., SimpleNamespace], make: SimpleNamespace
) -> None:
    """Repositories, tags, indexes and referrers; a second time nothing moves."""
    image, index = api.push_image("team/app", "1"), push_index(api, "team/multi", "1", make)
    subject = make.descriptor(image.data, "application/vnd.oci.image.manifest.v1+json")
    signature = api.push_image("team/app", "signature", b"signature", subject=subject)
    api("DELETE", "team/app/manifests/signature")
    said = bring(f"docker://{api.address}")
    assert (said.code, said.err) == (0, "")
    assert f"{target.address}/team/app:1: copied\n" in said.out
    assert "Imported 3 tags" in said.out
    assert "of 2 repositories, 0 unchanged, 0 kept, 0 failed" in said.out
    assert target("GET", "team/app/manifests/1").body == image.data
    assert target("GET", f"team/app/blobs/{make.digest(image.layer)}").body == image.layer
    assert target("GET", "team/multi/manifests/1").body == index
    referring = target("GET", f"team/app/referrers/{image.digest}").json["manifests"]
    assert [each["digest"] for each in referring] == [signature.digest]
    again = bring(api.address, "-q")
    assert again.out == "Imported 0 tags (0B) of 2 repositories, 3 unchanged, 0 kept, 0 failed\n"


def test_what_moved_there_moves_and_what_was_pushed_here_stays(
    api: Any, target: Any, bring: Callable[..., SimpleNamespace]
) -> None:
    api.push_image("app", "moves", b"old")
    api.push_image("app", "ours", b"theirs")
    mine = target.push_image("app", "ours", b"mine")
    first = bring(api.address)
    assert first.code == 0
    assert first.err == f"{target.address}/app:ours names something else here already: it stays as it is\n"
    moved = api.push_image("app", "moves", b"new")
    assert "Imported 1 tags" in bring(api.address).out
    assert target("GET", "app/manifests/moves").body == moved.data
    target.push_image("app", "moves", b"by hand")
    api.push_image("app", "moves", b"newer")
    assert "0 unchanged, 2 kept, 0 failed" in bring(api.address).out
    assert target("GET", "app/manifests/ours").body == mine.data


def test_only_what_matches_and_below_a_namespace(
    api: Any, target: Any, bring: Callable[..., SimpleNamespace]
) -> None:
    for name in ("team/app", "team/deep/tool", "other/app"):
        api.push_image(name, "1")
    words = ("--repository", "team/*", "--repository", "nobody/*")
    said = bring(api.address, *words, to=f"{target.address}/old")
    assert said.code == 1
    assert f"{api.address}: no repository matches 'nobody/*'\n" in said.out
    assert target("GET", "_catalog").json == {"repositories": ["old/team/app", "old/team/deep/tool"]}


def test_into_a_namespace_of_itself(api: Any, bring: Callable[..., SimpleNamespace]) -> None:
    """What was brought is not brought again."""
    api.push_image("app", "1")
    for _ in range(2):
        assert bring(api.address, to=f"{api.address}/copy").code == 0
    assert api("GET", "_catalog").json == {"repositories": ["app", "copy/app"]}
    with pytest.raises(UsageError, match="are the same registry"):
        bring(api.address, to=f"docker://{api.address}/")


def test_a_registry_that_lists_nothing(
    target: Any, bring: Callable[..., SimpleNamespace], make: SimpleNamespace
) -> None:
    """Repositories that are named are brought all the same; one that fails is said, and the rest goes on."""
    import json

    fake = FakeRegistry()
    try:
        layer, config = make.layer(b"x"), make.config(b"x")
        for blob in (layer, config):
            fake.add_blob("app", blob)
        data = json.dumps(make.manifest(config, [layer])).encode()
        fake.add_manifest("app", "1", data, "application/vnd.oci.image.manifest.v1+json")
        fake.on("GET", "_catalog", lambda x: x.reply(404, b"{}"), times=9)
        with pytest.raises(Exception, match="not found") as caught:
            bring(fake.host)
        assert "--repository NAME" in caught.value.hint  # type: ignore[attr-defined]
        said = bring(fake.host, "--repository", "nothing", "--repository", "app", "--repository", "../up")
        assert said.code == 1
        assert "of 3 repositories, 0 unchanged, 0 kept, 2 failed" in said.out
        assert "invalid name of a repository: '../up'" in said.out
        assert target("GET", "app/manifests/1").body == data
    finally:
        fake.close()


def test_names_that_a_hostile_registry_lists(target: Any, bring: Callable[..., SimpleNamespace]) -> None:
    fake = FakeRegistry()
    listed = b'{"repositories": ["../../etc", "UPPER", "a//b", "a:1", "a@sha256:0"]}'

    def catalog(x: Exchange) -> bool:
        return x.reply(200, listed)

    try:
        fake.on("GET", "_catalog", catalog, times=9)
        said = bring(fake.host)
        assert (said.code, said.out.count("invalid")) == (1, 5)
        assert target("GET", "_catalog").json == {"repositories": []}
    finally:
        fake.close()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["localhost:1"], "say with --to which served registry takes it"),
        (["--to", "localhost:2", "--root", "/x", "localhost:1"], "without --root or --sparse"),
        (["--to", "localhost:2", "/folder"], "/folder is a folder"),
        (["--repository", "a", "folder"], "folder is a folder"),
        (["--to", "http://localhost:2", "localhost:1"], "is not a registry"),
        (["--to", "localhost:2", "docker://localhost:1/app"], "is more than a registry"),
        (["--to", "localhost:2", "docker://"], "is not a registry"),
    ],
)
def test_what_makes_no_sense(words: list[str], why: str, tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "NACRE_ROOT": str(tmp_path / "store")}
    with Context(variables) as context, pytest.raises((UsageError, RegistryError), match=why):
        IMPORT.run(context, parse(IMPORT, words, "registry import"))
