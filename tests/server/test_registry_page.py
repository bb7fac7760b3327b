"""The page of a registry: what it shows and to whom, and what it does not let in."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("sqlalchemy")
from pagekit import Site, described, tar_of

from nacre.services.server.access.passwords import encoded
from nacre.services.server.page.location import Location, link, location_of
from nacre.services.server.page.readme import render
from nacre.services.server.page.session import COOKIE
from nacre.stores.accounts.administration import Administration
from nacre.stores.accounts.model import Role
from nacre.stores.activity import Action, Activity, Author, note
from nacre.stores.browsing import Browsing
from nacre.words.oci import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST

LAYER = tar_of({"etc/": None, "etc/motd": b"hello\n"})
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SECRET = "correct horse"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(str(tmp_path / "registry")) as found:
        yield found
    assert found.log == []


@pytest.fixture
def closed(site: Site) -> Site:
    """alice administers, bob writes to shop, and nobody else may read `secret`."""
    for name in ("shop/app", "secret/app", "public/app"):
        site.image(name, "1", [LAYER])
    with Administration(f"{site.folder}/registry.db", "test") as accounts:
        accounts.users.add("alice", encoded(SECRET), administrator=True)
        accounts.users.add("bob", encoded(SECRET))
        accounts.rights.grant("shop", Role.WRITE, user="bob")
        accounts.rights.set_namespace("public", public=True)
    deadline = time.monotonic() + 30
    while site.get("/v2/").status != 401:
        assert time.monotonic() < deadline
    return site


def sign_in(site: Site, name: str, secret: str = SECRET, to: str = "/") -> str:
    """What the cookie is, and from then on it is sent."""
    answer = site.post("/-/sign-in", {"name": name, "password": secret, "to": to})
    if answer.status == 303:
        assert answer.headers["location"] == to
        site.cookie = answer.headers["set-cookie"].partition(";")[0]
    return str(answer.headers.get("set-cookie", ""))


def test_what_is_there_is_shown(site: Site) -> None:
    assert "docker push registry.example/hello:1" in site.get("/").words
    site.image(
        "shop/app",
        "v1",
        [LAYER],
        {"config": {"Labels": {"org.opencontainers.image.description": "The shop"}}},
    )
    site.image("tool", "latest", [LAYER])
    home = site.get("/")
    assert home.status == 200
    assert "shop/ app 1 tag" in home.words
    assert "The shop" in site.get("/r/shop/app").words
    page = site.get("/r/shop/app/-/tags")
    assert "v1 linux/amd64" in page.words
    assert 'data-copy="docker pull registry.example/shop/app:v1"' in page.text
    assert (
        site.get("/r/shop").status
        == site.get("/r/none/-/tags").status
        == site.get("/-/nothing").status
        == 404
    )


def test_search_finds_names_and_descriptions_and_means_what_it_says(site: Site) -> None:
    for name in ("a_b", "axb", "other"):
        site.image(name, "1", [LAYER])
    site.post("/r/other/-/edit", {"summary": "Keeps 100% of the Snails", "readme": "mother of pearl"})

    def found(text: str) -> list[str]:
        return re.findall(r'href="/r/([^"/]+)"', site.get(f"/?q={text}").text)

    assert found("a_b") == ["a_b"]
    assert found("SNAILS") == found("100%25") == found("pearl") == ["other"]
    assert found("%25") == ["other"]
    assert "has “zzz”" in site.get("/?q=zzz").words


def test_search_finds_annotations_of_the_newest_tags(site: Site) -> None:
    """Keys and values; what is not JSON's own and what LIKE takes for patterns means itself."""
    site.image("tool", "1", [LAYER], annotations={"org.example.team": 'Mussels "100%" \u00e9'})
    site.image("other", "1", [LAYER])

    def found(text: str) -> list[str]:
        return re.findall(r'href="/r/([^"/]+)"', site.get(f"/?q={quote(text)}").text)

    assert found("mussels") == found("org.example.team") == found('"100%"') == found("\u00e9") == ["tool"]
    assert found("mussel_") == []
    for number in range(5):
        site.image("tool", f"newer{number}", [LAYER])
    assert found("mussels") == []


def test_a_tag_is_deleted_by_those_who_may(closed: Site) -> None:
    """It is asked for, its content stays for a while, and the record says who it was."""
    path = "/r/shop/app/-/delete/1"
    sign_in(closed, "bob")
    assert "Delete" not in closed.get("/r/shop/app/-/image/1").words
    assert closed.get(path).status == 404
    digest = closed.registry.state.catalog.manifest("shop/app", "1").digest
    said = {"digest": str(digest)}
    assert closed.post(path, {**said, "token": closed.token("/r/shop/app/-/edit")}).status == 404
    with Administration(f"{closed.folder}/registry.db", "test") as accounts:
        accounts.rights.grant("shop", Role.DELETE, user="bob")
    deadline = time.monotonic() + 30
    while closed.get(path).status != 200:
        assert time.monotonic() < deadline
    assert f'href="{path}"' in closed.get("/r/shop/app/-/image/1").text
    assert "undelete shop/app:1" in closed.get(path).words
    good = {**said, "token": closed.token(path)}
    assert closed.post(path, said).status == 403
    assert closed.post(path, good, origin="https://evil.example").status == 403
    assert closed.post(path, {**good, "digest": f"sha256:{'0' * 64}"}).status == 412
    assert closed.post(path, {**good, "digest": "x"}).status == 400
    assert closed.registry.state.catalog.manifest("shop/app", "1")
    answer = closed.post(path, good)
    assert (answer.status, answer.headers["location"]) == (303, "/r/shop/app/-/tags")
    assert closed.registry.state.catalog.manifest("shop/app", "1") is None
    entry = Activity(closed.registry.state.catalog).page(limit=1)[0]
    assert (entry.action, entry.actor, entry.reference) == ("delete", "bob", "1")
    assert closed.get(path).status == 404
    assert closed.get("/r/secret/app/-/delete/1").status == 404


def test_lists_go_on_and_each_page_is_as_quick_as_the_first(site: Site) -> None:
    image = site.image("many", "0", [LAYER])
    rows = [(f"t{number:05}", float(number)) for number in range(30_000)]

    def fill(db: Any) -> None:
        repository = db.execute("SELECT id FROM repositories WHERE name = 'many'").fetchone()[0]
        db.executemany(
            "INSERT INTO tags VALUES (?, ?, ?, ?)",
            [(repository, tag, image.digest, when) for tag, when in rows],
        )

    site.registry.state.catalog.change(fill)
    seen: list[str] = []
    target = "/r/many/-/tags?order=name"
    for _ in range(3):
        page = site.get(target.replace("&amp;", "&"), hx_request="true")
        assert "<html" not in page.text
        seen += re.findall(r'/-/image/([^"]+)"', page.text)
        target = re.findall(r'href="([^"]*last=[^"]*)"', page.text)[0]
    assert seen == ["0", *(f"t{number:05}" for number in range(74))]
    newest = site.get("/r/many/-/tags").text
    assert re.findall(r'/-/image/([^"]+)"', newest)[:2] == ["0", "t29999"]
    assert "10\u202f000+" in newest
    after = re.findall(r'href="([^"]*last=[^"]*)"', newest)[0].replace("&amp;", "&")
    assert re.findall(r'/-/image/([^"]+)"', site.get(after).text)[0] == "t29975"
    browsing = Browsing(site.registry.state.catalog)
    began = time.thread_time()
    assert browsing.newest("many", "", (100.0, ""), 25)[0].tag == "t00099"
    assert time.thread_time() - began < 1


def test_names_and_words_from_outside_do_nothing(site: Site) -> None:
    labels = {
        "org.opencontainers.image.description": EVIL, "org.opencontainers.image.url": "javascript:alert(1)",
        "org.opencontainers.image.vendor": EVIL,
    }  # fmt: skip
    site.image("shop/app", "v1", [LAYER], {"config": {"Labels": labels}, "os": EVIL})
    site.post(
        "/r/shop/app/-/edit", {"summary": EVIL, "readme": EVIL + f"\n\n[x](javascript:alert(1)) `{EVIL}`"}
    )
    for path in ("/", "/r/shop/app", "/r/shop/app/-/tags", "/r/shop/app/-/edit", f"/?q={EVIL}", f"/r/{EVIL}"):
        text = site.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert 'href="javascript:' not in text
    assert site.get("/", cookie=f"nacre-theme={EVIL}").text.count("<script") == 2


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("# Title", "<h2>Title</h2>\n"),
        ("## a\n#### b\n## c\n###### d", "<h2>a</h2>\n<h3>b</h3>\n<h2>c</h2>\n<h3>d</h3>\n"),
        ("<b onclick=x>x</b>", "<p>&lt;b onclick=x&gt;x&lt;/b&gt;</p>\n"),
        (
            "[a](https://x.example)",
            '<p><a href="https://x.example" rel="noopener noreferrer nofollow">a</a></p>\n',
        ),
        ("[a](data:text/html,x)", "<p>[a](data:text/html,x)</p>\n"),
        (
            "![dog](https://x/y.png)",
            '<p><a href="https://x/y.png" rel="noopener noreferrer nofollow">dog</a></p>\n',
        ),
        ('![a"b<i>](javascript:x)', "<p>![a&quot;b&lt;i&gt;](javascript:x)</p>\n"),
        ("~~gone~~", "<p><s>gone</s></p>\n"),
    ],
)
def test_readme(text: str, made: str) -> None:
    assert render(text).replace('"b', "&quot;b") == made


def test_a_readme_that_attacks_is_quick() -> None:
    began = time.thread_time()
    for text in (">" * 10_000, "[" * 10_000, "*a " * 5_000, "a|b\n-|-\n" + "|" * 50_000, "`" * 20_001 + "x"):
        render(text)
    assert len(render("word " * 100_000)) < 67_000
    assert time.thread_time() - began < 20


def test_a_readme_that_was_attached(site: Site) -> None:
    image = site.image("shop/app", "latest", [LAYER])
    readme, empty = site.blob("shop/app", b"# Attached\n"), site.blob("shop/app", b"{}")
    subject = described(json.dumps(image.document).encode(), OCI_MANIFEST)
    site.put(
        "shop/app", "",
        {
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "text/markdown",
            "config": described(empty, OCI_EMPTY), "layers": [described(readme, "text/markdown")],
            "subject": subject,
        },
    )  # fmt: skip
    assert "<h2>Attached</h2>" in site.get("/r/shop/app").text


def test_every_answer_is_safe_and_is_not_sent_twice(site: Site) -> None:
    answers = [site.get("/"), site.get("/nothing?"), site.get("/-/nothing"), site.get("/r/UPPER")]
    for answer in (answers[0], *answers[2:]):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.findall(r"<script(?! src)|\son\w+=|style=|src=\"http", answer.text)
    assert answers[1].headers["content-type"] == "application/json"
    again = site.get("/", if_none_match=answers[0].headers["etag"])
    assert (again.status, again.data) == (304, b"")
    file = re.findall(r'href="(/-/static/[^"]+css)"', answers[0].text)[0]
    assert "immutable" in site.get(file).headers["cache-control"]
    assert site.get("/-/static/x/../app.py").status == site.get("/-/static/x/%2e%2e%2fapp.py").status == 404


def test_who_may_not_read_learns_nothing(closed: Site) -> None:
    for name in ("", "bob"):
        closed.cookie = ""
        if name:
            sign_in(closed, name)
        assert "secret" not in closed.get("/?q=app").text.replace("secret/app?", "")
        for view in ("", "/-/tags", "/-/edit"):
            hidden, absent = closed.get("/r/secret/app" + view), closed.get("/r/absent/app" + view)
            assert hidden.status == absent.status == 404
            assert hidden.text.replace("secret/", "absent/").replace("secret%2F", "absent%2F") == absent.text
    assert "bob" in closed.get("/").text
    assert closed.get("/r/shop/app").status == 200
    sign_in(closed, "alice")
    assert closed.get("/r/secret/app").status == 200
    closed.cookie = ""
    assert closed.get("/r/public/app").status == 200
    assert closed.get("/r/public/app/-/edit").status == 404


def test_signing_in_and_out(closed: Site) -> None:
    assert "wrong" in closed.post("/-/sign-in", {"name": "bob", "password": "x"}).words
    cookie = sign_in(closed, "bob", to="/r/shop/app?x=1")
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "secure" not in cookie.lower()
    over_tls = closed.post("/-/sign-in", {"name": "bob", "password": SECRET}, x_forwarded_proto="https")
    assert "secure" in over_tls.headers["set-cookie"].lower()
    elsewhere = {"name": "bob", "password": SECRET, "to": "//evil.example"}
    assert closed.post("/-/sign-in", elsewhere).headers["location"] == "/"
    mine = closed.cookie
    out = closed.post("/-/sign-out", {"token": closed.token("/")})
    assert "max-age=0" in out.headers["set-cookie"].lower()
    closed.cookie = mine.replace(mine[-5:], "AAAAA")
    assert "bob" not in closed.get("/").text
    closed.cookie = mine
    with Administration(f"{closed.folder}/registry.db", "test") as accounts:
        accounts.users.change("bob", password=encoded("another one"))
    deadline = time.monotonic() + 30
    while "Sign out" in closed.get("/").text:
        assert time.monotonic() < deadline


def test_guessing_passwords_ends_soon(closed: Site) -> None:
    for _ in range(10):
        assert closed.post("/-/sign-in", {"name": "bob", "password": "guess"}).status == 401
    late = closed.post("/-/sign-in", {"name": "bob", "password": SECRET})
    assert late.status == 429
    assert late.headers["retry-after"] == "60"


def test_a_token_of_the_protocol_is_no_session(closed: Site) -> None:
    """Both are signed with the same key."""
    with Administration(f"{closed.folder}/registry.db", "test") as accounts:
        _, secret = accounts.tokens.add("bob")
    assert "only a password" in closed.post("/-/sign-in", {"name": "bob", "password": secret}).words
    bearer = json.loads(closed.get("/token", authorization=basic("bob")).text)["token"]
    closed.cookie = f"{COOKIE}={bearer}"
    assert "bob" not in closed.get("/").text
    sign_in(closed, "bob")
    session = closed.cookie.partition("=")[2]
    closed.cookie = ""
    assert closed.get("/v2/shop/app/tags/list", authorization=f"Bearer {session}").status == 401


def basic(name: str) -> str:
    import base64

    return "Basic " + base64.b64encode(f"{name}:{SECRET}".encode()).decode()


def test_forms_of_other_sites_are_refused(closed: Site) -> None:
    sign_in(closed, "bob")
    path, said = "/r/shop/app/-/edit", {"summary": "mine", "readme": ""}
    good = {**said, "token": closed.token(path)}
    assert closed.post(path, said).status == 403
    assert closed.post(path, {**said, "token": "0" * 64}).status == 403
    assert closed.post(path, good, origin="https://evil.example").status == 403
    assert closed.post(path, good, sec_fetch_site="cross-site").status == 403
    assert closed("POST", path, b"{}", content_type="application/json").status == 415
    assert "mine" not in closed.get("/").text
    assert (
        closed.post(path, good, origin="http://registry.example", sec_fetch_site="same-origin").status == 303
    )
    assert "mine" in closed.get("/").text
    theirs = closed.token(path)
    sign_in(closed, "alice")
    assert closed.post(path, {**said, "token": theirs}).status == 403


def test_forms_that_are_too_large(site: Site) -> None:
    site.image("tool", "1", [LAYER])
    assert site.post("/r/tool/-/edit", {"readme": "x" * (600 << 10)}).status == 413
    long = site.post("/r/tool/-/edit", {"summary": "x" * 201})
    assert long.status == 400
    assert "at most 200 characters" in long.words
    assert site.post("/r/tool/-/edit", {f"f{number}": "" for number in range(100)}).status == 400


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", Location()),
        ("/r/a/b", Location("", "a/b")),
        ("/r/a/b/-/tags", Location("tags", "a/b")),
        ("/r/a/-/files/v1/etc/%2e%2e/x%00y", Location("files", "a", "v1", b"etc/../x\0y")),
        ("/r/a/-/image/sha256:0", Location("image", "a", "sha256:0")),
        ("/-/sign-in", Location("sign-in")),
        ("/r/", None),
        ("/r/A", None),
        ("/r/a//b", None),
        ("/-/", None),
        ("/r/" + "a" * 9000, None),
    ],
)
def test_locations(path: str, location: Location | None) -> None:
    assert location_of(path) == location
    if location:
        assert location_of(link(*location)) == location


def test_the_page_is_loaded_when_it_is_asked_for() -> None:
    script = (
        "import sys, nacre.services.server;"
        "print({'jinja2', 'markdown_it', 'nh3', 'nacre.services.server.page'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"


def attach(site: Site, name: str, image: Any, kind: str, content: dict[str, Any], **notes: str) -> None:
    empty, data = site.blob(name, b"{}"), site.blob(name, json.dumps(content).encode())
    document = {
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind,
        "config": described(empty, OCI_EMPTY), "layers": [described(data, kind, annotations=notes)],
        "subject": described(json.dumps(image.document).encode(), OCI_MANIFEST),
    }  # fmt: skip
    site.put(name, "", document)


def test_what_is_attached_is_told_in_a_line(site: Site) -> None:
    image = site.image("app", "1", [LAYER])
    attach(site, "app", image, "application/spdx+json", {"packages": [{}] * 3})
    attach(site, "app", image, "application/vnd.cyclonedx+json", {"components": [{}]})
    slsa = {"runDetails": {"builder": {"id": "https://ci.example"}}, "materials": [1, 2]}
    statement = {"predicateType": "https://slsa.dev/provenance/v1", "predicate": slsa}
    attach(site, "app", image, "application/vnd.in-toto+json", statement)
    payload = {"critical": {"identity": {"docker-reference": EVIL}}}
    attach(site, "app", image, "application/vnd.dev.cosign.simplesigning.v1+json", payload)
    attach(site, "app", image, "application/vnd.unknown+json", {"packages": EVIL, "components": 7, "x": []})
    page = site.get("/r/app/-/image/1")
    for said in (
        "SBOM (SPDX) 3 packages", "SBOM (CycloneDX) 1 package", "application/vnd.unknown+json",
        "Provenance (SLSA) built by https://ci.example, 2 sources", "Signature (cosign) for &lt;script&gt;",
    ):  # fmt: skip
        assert said in page.words
    assert "<script>alert" not in page.text


def test_activity_tells_who_it_was_to_those_who_signed_in(closed: Site) -> None:
    for number in range(60):
        closed.registry.state.catalog.change(
            lambda db, number=number: note(
                db, Author("carol", "192.0.2.1"), Action("push", "public/app", f"t{number}")
            )
        )
    page = closed.get("/r/public/app/-/activity")
    assert "Pushed t59" in page.words
    assert "carol" not in page.text
    more = re.findall(r'href="([^"]*last=[^"]*)"', page.text)[0]
    assert "Pushed t0" in closed.get(more).words
    sign_in(closed, "bob")
    assert "by carol" in closed.get("/r/public/app/-/activity").words
    assert "192.0.2.1" not in closed.get("/r/public/app/-/activity").text
    assert closed.get("/r/secret/app/-/activity").status == 404
    sign_in(closed, "alice")
    assert "192.0.2.1" in closed.get("/r/public/app/-/activity").text


def test_members_are_shown_to_and_changed_by_those_who_administer(closed: Site) -> None:
    path = "/r/secret/app/-/members"
    sign_in(closed, "bob")
    assert closed.get("/r/shop/app/-/members").status == closed.get(path).status == 404
    assert closed.post("/r/shop/app/-/members", {"token": closed.token("/")}).status == 404
    sign_in(closed, "alice")
    token = closed.token(path)
    grant = {"token": token, "do": "grant", "who": "bob", "kind": "user", "role": "read"}
    assert closed.post(path, {**grant, "who": "nobody"}).status == 400
    assert closed.post(path, {**grant, "role": "king"}).status == 400
    assert closed.post(path, {**grant, "token": ""}).status == 403
    assert closed.post(path, grant).status == 303
    assert "bob read secret/app" in closed.get(path).words
    assert closed.post(path, {"token": token, "do": "public"}).status == 303
    assert "Everybody, without signing in" in closed.get(path).words
    assert closed.post(path, {**grant, "do": "revoke"}).status == 303
    assert "bob read" not in closed.get(path).words
    with Administration(f"{closed.folder}/registry.db", "test") as accounts:
        found = [(entry.actor, entry.action) for entry in accounts.audit(3)]
    assert found == [("alice", "revoke"), ("alice", "namespace set"), ("alice", "grant")]


def test_a_right_that_is_taken_back_on_the_page_is_gone_at_once(closed: Site) -> None:
    path, tags = "/r/secret/app/-/members", "/v2/secret/app/tags/list"
    bob = "Basic " + base64.b64encode(f"bob:{SECRET}".encode()).decode()
    sign_in(closed, "alice")
    form = {"token": closed.token(path), "who": "bob", "kind": "user", "role": "read"}
    for act, status in (("grant", 200), ("revoke", 403)) * 3:
        assert closed.post(path, {**form, "do": act}).status == 303
        assert closed.get(tags, authorization=bob, cookie="").status == status


def test_storage_is_for_administrators(closed: Site) -> None:
    for name, status in (("", 404), ("bob", 404), ("alice", 200)):
        closed.cookie = ""
        if name:
            sign_in(closed, name)
        deadline = time.monotonic() + 30
        while (page := closed.get("/-/storage")).status == 202:
            assert time.monotonic() < deadline
        assert page.status == status
        assert ("Storage" in closed.get("/").words) is (status == 200)
    assert "66 % of it" in page.words  # three images of the same layer and config
    assert "secret/ app" in page.words
    assert "The next collection frees 0 B" in page.words


def test_a_token_of_an_administrator_shows_no_more_than_it_may(closed: Site) -> None:
    with Administration(f"{closed.folder}/registry.db", "test") as accounts:
        secrets = {
            limits: accounts.tokens.add("alice", role=limits[0], namespace=limits[1])[1]
            for limits in ((Role.ADMIN, "*"), (Role.ADMIN, "shop"), (Role.READ, "*"))
        }
    shown = {}
    for limits, secret in secrets.items():
        field = "Basic " + base64.b64encode(f"alice:{secret}".encode()).decode()
        shown[limits] = closed.get("/-/storage", authorization=field).status != 404
    assert shown == {(Role.ADMIN, "*"): True, (Role.ADMIN, "shop"): False, (Role.READ, "*"): False}


def test_what_cannot_be_read_is_said(site: Site) -> None:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    site.put("odd", "empty", index)
    assert site.get("/r/odd/-/image/empty").status == 404
    assert site.get("/r/odd/-/image/none").status == 404
    assert site.get("/r/odd/-/files/" + "sha256:" + "0" * 64).status == 404
    assert "empty" in site.get("/r/odd/-/tags").words
    assert site("DELETE", "/").status == 405
