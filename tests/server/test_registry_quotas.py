"""What a namespace may hold: counted as the disk counts, and exact however many push at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nacre.stores.catalog import Catalog, Document, Quota, QuotaExceeded, Quotas, SqliteDatabase
from nacre.stores.registry import quotas_of
from nacre.stores.storage.local import FolderContents
from nacre.stores.storage.protocol import Placed
from nacre.words.digest import Digest

D = [Digest.of(str(number).encode()) for number in range(20)]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    with closing(
        Catalog(SqliteDatabase(str(tmp_path / "registry.db"), clock), FolderContents(lambda _digest: None))
    ) as made:
        yield made


def used(quotas: Quotas) -> dict[str, int]:
    assert {quota.namespace: quota.used for quota in quotas.all(exact=True)} == {
        quota.namespace: quota.used for quota in quotas.all()
    }
    return {quota.namespace: quota.used for quota in quotas.all()}


def test_content_that_repositories_share_counts_once(catalog: Catalog) -> None:
    catalog.add_blob("shop/a", Placed(D[0], 10))
    catalog.quotas.set("shop", 100)
    catalog.quotas.set("shop/a", 30)
    catalog.quotas.set("*", 1000)
    catalog.add_blob("shop/b", Placed(D[0], 10))
    catalog.add_blob("shop/b/c", Placed(D[1], 15))
    catalog.add_blob("shopping", Placed(D[2], 7))
    catalog.mount("shop/a", D[1], "shop/b/c")
    catalog.put_manifest("shop", Placed(D[3], 3), Document("m", 3, (), "", "", ()))
    assert used(catalog.quotas) == {"*": 35, "shop": 28, "shop/a": 25}
    with pytest.raises(
        QuotaExceeded, match="6B do not fit into the quota of shop/a: 25B of 30B are used"
    ) as caught:
        catalog.add_blob("shop/a", Placed(D[4], 6))
    assert (caught.value.status, caught.value.code) == (403, "DENIED")
    assert catalog.blob("shop/a", D[4]) is None
    catalog.add_blob("shop/a", Placed(D[4], 5))
    with pytest.raises(QuotaExceeded):
        catalog.put_manifest("shop/a", Placed(D[5], 1), Document("m", 1, (), "", "", ()))
    catalog.quotas.set("shop/a", None)
    catalog.put_manifest("shop/a", Placed(D[5], 1), Document("m", 1, (), "", "", ()))
    assert used(catalog.quotas) == {"*": 41, "shop": 34}


def test_what_was_deleted_makes_room(catalog: Catalog, clock: Clock) -> None:
    """Counted anew at most every ten seconds, so that a full namespace costs the others nothing."""
    catalog.quotas.set("shop", 20)
    catalog.add_blob("shop/a", Placed(D[0], 10))
    catalog.add_blob("shop/a", Placed(D[1], 10))
    catalog.delete_blob("shop/a", D[0])
    with pytest.raises(QuotaExceeded):
        catalog.add_blob("shop/a", Placed(D[2], 10))
    clock.now += 11
    catalog.add_blob("shop/a", Placed(D[2], 10))
    assert used(catalog.quotas) == {"shop": 20}
    with pytest.raises(QuotaExceeded):
        catalog.add_blob("shop/a", Placed(D[3], 1))


def test_two_that_count_anew_at_once(catalog: Catalog, clock: Clock) -> None:
    catalog.quotas.set("shop", 100)
    catalog.add_blob("shop/a", Placed(D[0], 60))
    catalog.add_blob("shop/a", Placed(D[1], 40))
    catalog.delete_blob("shop/a", D[0])
    clock.now += 11
    (before,) = catalog.quotas.all()
    assert [catalog.quotas.recount(before).used for _ in range(2)] == [40, 40]
    assert catalog.quotas.recount(Quota("gone", 1, 1)) == Quota("gone", 1, 1)


def test_it_is_exact_however_many_push(catalog: Catalog) -> None:
    catalog.quotas.set("shop", 100)
    refused = []

    def push(number: int) -> None:
        try:
            catalog.add_blob(f"shop/{number}", Placed(D[number], 10))
        except QuotaExceeded:
            refused.append(number)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 10
    assert used(catalog.quotas) == {"shop": 100}


@pytest.fixture
def full(api: Any, tmp_path: Path) -> Callable[[int], None]:
    def leave(count: int) -> None:
        with quotas_of(str(tmp_path / "registry")) as quotas:
            quotas.set("shop", 1 << 30)
            quotas.set("shop", quotas.all()[0].used + count)

    api.push_image("shop/app", "1")
    return leave


def test_a_push_that_does_not_fit(api: Any, make: Any, full: Callable[[int], None], tmp_path: Path) -> None:
    """Refused before its bytes are taken where its size is known, and with numbers."""
    full(100)
    data = b"x" * 101
    digest = make.digest(data)
    for answer in (
        api("POST", f"shop/b/blobs/uploads/?digest={digest}", data),
        api("PATCH", api.begin("shop/b"), data),
        api("PATCH", api.begin("shop/b"), iter([data[:50], data[50:]]), chunked=True),
        api("PUT", f"{api.begin('shop/b')}?digest={digest}", data),
    ):
        assert (answer.status, answer.code) == (403, "DENIED")
        assert answer.json["errors"][0]["message"].startswith("101B do not fit into the quota of shop: ")
    assert api("HEAD", f"shop/b/blobs/{digest}").status == 404
    api.push_blob("shopping", data)
    where = api.begin("shop/b")
    assert api("PATCH", where, data[:60]).status == 202
    assert api("PATCH", where, data[:60]).status == 403
    assert api("PATCH", where, data[:40]).status == 202
    answer = api("POST", f"shop/b/blobs/uploads/?mount={digest}&from=shopping")
    assert (answer.status, answer.code) == (403, "DENIED")
    api.push_blob("shop/b", data[:100])
    assert (
        api("PUT", f"{where}?digest={make.digest(data[:60] + data[:40])}").status == 201
    )  # it is there already
    image = json.dumps(make.manifest(data[:100], [])).encode()
    assert api.put_manifest("shop/b", "1", image).code == "DENIED"


def test_what_is_there_already_needs_no_room(api: Any, full: Callable[[int], None]) -> None:
    full(0)
    image = api("GET", "shop/app/manifests/1")
    layer = image.json["layers"][0]["digest"]
    data = api("GET", f"shop/app/blobs/{layer}").body
    assert api("POST", f"shop/new/blobs/uploads/?mount={layer}&from=shop/app").status == 201
    assert api("POST", f"shop/newer/blobs/uploads/?digest={layer}", data).status == 201
    assert api.put_manifest("shop/app", "2", image.body).status == 201


def test_the_commands(nacre: Any, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    root = "--root", str(tmp_path / "registry")
    nacre("registry", "namespace", "set", "shop", "--quota", "1.5GB", "--public", *root)
    lines = nacre("registry", "namespace", "ls", *root).out.splitlines()
    assert lines[1].split() == ["shop", "public", "1.5GiB", "0B"]
    assert "quota 1610612736" in nacre("registry", "audit", *root).out
    assert (
        "expected a size like 10GB"
        in nacre("registry", "namespace", "set", "shop", "--quota", "much", *root, check=False).err
    )
    nacre("registry", "namespace", "set", "shop", "--quota", "0", *root)
    assert "GiB" not in nacre("registry", "namespace", "ls", *root).out
