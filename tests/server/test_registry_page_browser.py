"""The page of a registry in a real browser: for all eyes, hands and screen readers, asking nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from chromium import PROGRAM, Chromium
from pagedemo import Team
from pagekit import Client

pytest.importorskip("jinja2")
pytest.importorskip("sqlalchemy")
from nacre.services.server import RunningServer
from nacre.services.server.access.passwords import encoded
from nacre.stores.accounts.administration import Administration

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs chromium")
SECRET = "correct horse"
SHOP = "/r/atelier/storefront"
PAGES = (
    "/", "/?q=nothing+like+this", SHOP, f"{SHOP}/-/tags", f"{SHOP}/-/image/latest",
    f"{SHOP}/-/delete/latest",
    f"{SHOP}/-/activity", f"{SHOP}/-/members", f"{SHOP}/-/edit", f"{SHOP}/-/files/latest/app",
    f"{SHOP}/-/files/latest/app/manage.py",
    f"{SHOP}/-/files/latest/usr/bin/bash", f"{SHOP}/-/compare?from=2.3.1&to=2.4.1", "/-/storage",
    "/-/account", "/-/nothing", "/-/sign-in",
)  # fmt: skip
LOOKS = {
    "light": {}, "dark": {"dark": True}, "phone": {"width": 390, "height": 844, "phone": True},
}  # fmt: skip
AXE = """axe.run(document, {resultTypes: ["violations"], RULES}).then(found => found.violations.map(each =>
    each.id + ": " + each.nodes.map(node => node.html.slice(0, 200) + node.failureSummary).join(" | ")))"""
RULES = {"dark": "runOnly: ['color-contrast']"}
"""What is looked at: in the dark only what may differ there."""
FOCUSED = """(() => { const e = document.activeElement, s = getComputedStyle(e);
    const said = e.textContent.trim().replace(/\\s+/g, " ") || e.ariaLabel || e.name || "";
    const outlined = s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2;
    return [e.tagName, said.slice(0, 40), outlined]; })()"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of a team, which everybody may read; alice administers it."""
    root = str(tmp_path_factory.mktemp("page") / "registry")
    log: list[str] = []
    with RunningServer(root, log=log.append) as serving:
        Team(Client(serving.url), 500).fill()
        with Administration(f"{root}/registry.db", "test") as accounts:
            accounts.users.add("alice", encoded(SECRET), administrator=True)
            accounts.rights.set_namespace("*", public=True)
        deadline = time.monotonic() + 30
        while Client(serving.url)("GET", "/-/sign-in").status != 200:
            assert time.monotonic() < deadline
        yield serving.url
    assert log == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    folder: Path = tmp_path_factory.mktemp("browser")
    with Chromium(folder) as found:
        yield found


def sign_in(browser: Chromium, url: str) -> None:
    browser.go(f"{url}/-/sign-in?to=/")
    for field, text in (("name", "alice"), ("password", SECRET)):
        browser.run(f"document.getElementById('{field}').value = '{text}'")
    browser.run("document.querySelector('main form').submit()")
    browser.until("location.pathname === '/' && document.readyState === 'complete'")
    assert "Sign out" in browser.run("document.body.innerText")


def test_every_page_is_accessible_in_every_light(browser: Chromium, url: str) -> None:
    """Contrast, names, labels, roles, landmarks: what axe-core finds. And nothing is wider than a phone."""
    spec = find_spec("axe_core_python")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs axe-core-python")
    axe = (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    sign_in(browser, url)
    found: list[str] = []
    for page in PAGES:
        browser.go(url + page)
        browser.until(
            "!document.querySelector('meta[http-equiv=refresh]') && document.readyState === 'complete'"
        )
        browser.run(axe)
        for name, look in LOOKS.items():
            browser.look(**look)  # type: ignore[arg-type]
            found += [
                f"{page} {name}: {each}" for each in browser.run(AXE.replace("RULES", RULES.get(name, "")))
            ]
            if browser.run(f"document.documentElement.scrollWidth > {look.get('width', 1200)}"):
                found.append(f"{page} {name}: wider than the window")
    browser.look()
    assert not found, "\n".join(found)


def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(browser: Chromium, url: str) -> None:
    browser.go(url + SHOP)
    seen: list[Any] = []
    for _ in range(60):
        browser.key("Tab")
        where = browser.run(FOCUSED)
        if where[0] == "BODY" or where in seen:
            break
        seen.append(where)
    names = [where[1] for where in seen]
    assert names[:3] == ["Skip to the content", "Nacre", "Search repositories"]
    assert names.index("Overview") < names.index("Tags 7") < names.index("Copy the command for docker")
    assert [where for where in seen if not where[2]] == []
    assert (
        browser.run('document.querySelectorAll(\'[tabindex]:not([tabindex="0"], [tabindex="-1"])\').length')
        == 0
    )
    browser.go(url + SHOP)
    browser.key("Tab")
    browser.key("Enter", "\r")
    assert browser.run("location.hash") == "#main"


def test_search_and_lists_go_on_in_place(browser: Chromium, url: str) -> None:
    browser.go(url + "/")
    browser.run("document.documentElement.dataset.same = 'yes'")
    browser.run("document.querySelector('input[type=search]').focus()")
    browser("Input.insertText", text="invoices")
    browser.until("document.querySelectorAll('#repositories .name').length === 1")
    assert browser.run("document.querySelector('#repositories .name').innerText") == "atelier/worker"
    browser.until("location.search === '?q=invoices'")
    assert browser.run("document.documentElement.dataset.same") == "yes"
    browser.run("history.back()")
    browser.until("document.querySelectorAll('#repositories .name').length > 3")
    browser.go(url + f"{SHOP}/-/activity")
    browser.run("document.querySelector('[data-copy]')?.click()")


def test_a_command_is_copied(browser: Chromium, url: str) -> None:
    browser("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    browser.go(url + SHOP)
    browser.run("document.querySelector('[data-copy]').click()")
    browser.until("document.getElementById('said').textContent.startsWith('Copied: docker pull ')")


def test_it_works_without_scripts(browser: Chromium, url: str) -> None:
    browser("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.go(url + "/?q=backup")
        root = browser("DOM.getDocument", depth=-1)["root"]["nodeId"]
        shown = browser("DOM.getOuterHTML", nodeId=root)["outerHTML"]
        assert "ops/</span>backup" in shown
        assert "scripted" not in shown
    finally:
        browser("Emulation.setScriptExecutionDisabled", value=False)


def test_the_light_that_was_chosen_stays(browser: Chromium, url: str) -> None:
    browser.go(url + "/")
    browser.run("document.querySelector('.themes button[value=dark]').click()")
    browser.until("document.documentElement.dataset.theme === 'dark'")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 26)"
    browser.run("document.querySelector('.themes button[value=\"\"]').click()")
    browser.until("document.documentElement.dataset.theme === undefined")


def test_nobody_else_was_asked_and_nothing_was_refused(browser: Chromium, url: str) -> None:
    """Of all that the tests before have loaded."""
    asked = [
        each["params"]["request"]["url"]
        for each in browser.events
        if each["method"] == "Network.requestWillBeSent"
    ]
    assert {each for each in asked if not each.startswith((url, "about:", "data:"))} == set()
    said = [each["params"]["entry"] for each in browser.events if each["method"] == "Log.entryAdded"]
    assert [each["text"] for each in said if "nothing" not in each.get("url", "")] == []
    assert [each for each in browser.events if each["method"] == "Runtime.exceptionThrown"] == []
