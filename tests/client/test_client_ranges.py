"""One blob over several connections: what comes out is the blob, whatever the parts do."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest
from contract import descriptor
from fakeregistry import Exchange, FakeRegistry

from nacre.services.client import Client, Repository, TransportLimits
from nacre.services.client.ranges import Ranges
from nacre.words.errors import NacreError, RegistryError, Unreachable
from nacre.words.reference import Reference

DATA = os.urandom(12_345_678)
Connect = Callable[..., Client]


def eager(limit: int = 4, **options: float) -> Ranges:
    """Every connection is slow, at once."""
    return Ranges(limit, slow=1e18, seconds=0.0, **options)  # type: ignore[arg-type]


@pytest.fixture
def repository(fake: FakeRegistry, connect: Connect) -> Repository:
    fake.add_blob("app", DATA)
    return connect(limits=TransportLimits(), ranges=eager()).repository(Reference.parse(f"{fake.host}/app"))


def read(repository: Repository, offset: int = 0, size: int = 100_000) -> bytes:
    with repository.fetch(descriptor(DATA), offset) as reader:
        return b"".join(iter(lambda: reader.read(size), b""))


def parts(fake: FakeRegistry) -> list[tuple[int, int]]:
    """The ranges with an end that were asked for."""
    asked = (headers.get("Range", "") for headers in fake.sent("GET", "/blobs/"))
    return [(int(m[1]), int(m[2])) for text in asked if (m := re.fullmatch(r"bytes=(\d+)-(\d+)", text))]


@pytest.mark.parametrize("offset", [0, 1_234_567])
def test_parts_come_out_in_order(fake: FakeRegistry, repository: Repository, offset: int) -> None:
    assert read(repository, offset) == DATA[offset:]
    asked = sorted(parts(fake))
    assert len(asked) > 2
    assert all(before[1] + 1 == after[0] for before, after in pairwise(asked))


@pytest.mark.parametrize(("size", "count"), [(900_000, 0), (2_000_000, 3), (8_000_000, 3)])
def test_every_connection_gets_a_part(fake: FakeRegistry, connect: Connect, size: int, count: int) -> None:
    """Also of a layer of two megabytes: on a line with losses it takes as long as a large one in parts."""
    data = DATA[:size]
    fake.add_blob("app", data)
    ticks = iter(range(10**9))
    slow = Ranges(4, lambda: next(ticks) * 0.05, slow=1e18, seconds=0.0)  # 64 KiB in 50 ms
    repository = connect(limits=TransportLimits(), ranges=slow).repository(
        Reference.parse(f"{fake.host}/app")
    )
    with repository.fetch(descriptor(data)) as reader:
        assert b"".join(iter(lambda: reader.read(1 << 16), b"")) == data
    assert len(parts(fake)) >= count
    assert bool(parts(fake)) is bool(count)


def test_a_fast_connection_stays_alone(fake: FakeRegistry, connect: Connect) -> None:
    fake.add_blob("app", DATA)
    repository = connect(limits=TransportLimits(), ranges=Ranges(4, slow=0.0)).repository(
        Reference.parse(f"{fake.host}/app")
    )
    assert read(repository) == DATA
    assert len(fake.sent("GET", "/blobs/")) == 1


@pytest.mark.parametrize("ranges", [Ranges(1), eager(total=0)])
def test_nothing_is_split_where_that_is_not_allowed(
    fake: FakeRegistry, connect: Connect, ranges: Ranges
) -> None:
    fake.add_blob("app", DATA)
    repository = connect(limits=TransportLimits(), ranges=ranges).repository(
        Reference.parse(f"{fake.host}/app")
    )
    assert read(repository) == DATA
    assert not parts(fake)


def test_a_registry_that_says_nothing_of_ranges(fake: FakeRegistry, repository: Repository) -> None:
    fake.ranges = False
    assert read(repository) == DATA
    assert len(fake.sent("GET", "/blobs/")) == 1


def only_parts(action: Callable[[Exchange, int, int], bool]) -> Callable[[Exchange], bool]:
    def act(x: Exchange) -> bool:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", x.headers.get("range", ""))
        return action(x, int(found[1]), int(found[2])) if found else False

    return act


def whole(x: Exchange, _start: int, _last: int) -> bool:
    return x.reply(200, DATA)


def elsewhere(x: Exchange, start: int, last: int) -> bool:
    length = last - start + 1
    return x.reply(206, DATA[:length], content_range=f"bytes 0-{length - 1}/{len(DATA)}")


def longer(x: Exchange, start: int, last: int) -> bool:
    return x.reply(206, DATA[start : last + 2], content_range=f"bytes {start}-{last + 1}/{len(DATA)}")


def gone(x: Exchange, _start: int, _last: int) -> bool:
    return x.reply(404)


def cut(x: Exchange, start: int, last: int) -> bool:
    length = str(last - start + 1)
    x.reply(
        206, DATA[start : start + 9999], content_range=f"bytes {start}-{last}/{len(DATA)}",
        content_length=length,
    )  # fmt: skip
    return x.cut()


@pytest.mark.parametrize("action", [whole, elsewhere, longer, gone])
@pytest.mark.parametrize("times", [1, 1000])
def test_parts_that_go_wrong(
    fake: FakeRegistry, repository: Repository, times: int, action: Callable[[Exchange, int, int], bool]
) -> None:
    fake.on("GET", "/blobs/", only_parts(action), times=times)
    assert read(repository) == DATA


def test_a_part_that_is_cut_goes_on(fake: FakeRegistry, repository: Repository) -> None:
    fake.on("GET", "/blobs/", only_parts(cut), times=5)
    assert read(repository) == DATA


def test_a_registry_that_goes_away(fake: FakeRegistry, repository: Repository) -> None:
    """Parts fail, and so does the one connection that is gone back to: its error is told."""
    fake.on("GET", "/blobs/", lambda _x: False)
    fake.on("GET", "/blobs/", lambda x: x.cut(), times=1000)
    with pytest.raises(Unreachable):
        read(repository)


def test_a_reader_that_is_closed_early(fake: FakeRegistry, repository: Repository) -> None:
    with repository.fetch(descriptor(DATA)) as reader:
        assert reader.read(1000) == DATA[:1000]
    for thread in threading.enumerate():
        if thread.name == "nacre-range":
            thread.join(30)
            assert not thread.is_alive()
    assert read(repository) == DATA


def test_connections_are_given_back(fake: FakeRegistry, connect: Connect) -> None:
    """A budget of three for all blobs lets each of many blobs have its turn."""
    ranges = eager(total=3)
    fake.add_blob("app", DATA)
    repository = connect(limits=TransportLimits(), ranges=ranges).repository(
        Reference.parse(f"{fake.host}/app")
    )
    for _ in range(4):
        assert read(repository) == DATA
    for thread in threading.enumerate():
        if thread.name == "nacre-range":
            thread.join(30)
    assert [ranges.take() for _ in range(4)] == [True, True, True, False]


def test_memory_is_bounded(fake: FakeRegistry, repository: Repository) -> None:
    """While nobody reads, no more than twice as many parts as workers are asked for."""
    try:
        with repository.fetch(descriptor(DATA)) as reader:
            reader.read(1)
            reader.read(1_500_000)
            assert len(parts(fake)) <= 9
    except NacreError as error:
        pytest.fail(error.message)


@pytest.mark.parametrize("span", [(0, 10), (5, 6), (1_000_000, len(DATA)), (0, len(DATA))])
def test_one_range(fake: FakeRegistry, repository: Repository, span: tuple[int, int]) -> None:
    with repository.fetch_range(descriptor(DATA), *span) as reader:
        assert b"".join(iter(lambda: reader.read(300_000), b"")) == DATA[slice(*span)]
    assert fake.sent("GET", "/blobs/")[-1]["Range"] == f"bytes={span[0]}-{span[1] - 1}"


def test_one_range_of_a_registry_without(fake: FakeRegistry, repository: Repository) -> None:
    fake.ranges = False
    with pytest.raises(RegistryError, match="does not support ranges"):
        repository.fetch_range(descriptor(DATA), 5, 10)
