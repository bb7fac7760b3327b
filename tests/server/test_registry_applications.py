"""Paths beside the protocol's: loaded once, at the first request, and under what holds for all requests."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from nacre.services.server import Registry, RunningServer
from nacre.services.server import applications as module
from nacre.services.server.applications import Application, answering
from nacre.services.server.bodies import Body
from nacre.words.errors import NotFound


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`/tried` and all below it are an application; those that were made."""
    made: list[str] = []

    def made_of(name: str) -> Any:
        async def handle(request: Request) -> Response:
            if request.url.path == "/tried/fails":
                raise ValueError("a secret of the registry")
            if request.url.path == "/tried/none":
                raise NotFound("there is none")
            body = await Body.of(request).read(10) if request.method == "POST" else b""
            return PlainTextResponse(f"{name} {request.scope['raw_path'].decode()} {body.decode()}")

        def application(registry: Registry) -> Any:
            assert isinstance(registry, Registry)
            made.append(name)
            return answering(handle)

        return application

    tried = ModuleType("tried")
    tried.application = made_of("tried")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nacre.services.server.tried", tried)
    monkeypatch.setattr(module, "APPLICATIONS", (Application("tried", ("/tried", "/tried/*")),))
    return made


def test_each_is_loaded_once_at_its_first_request(loaded: list[str], api: Any) -> None:
    assert api("GET", "").status == 200
    assert loaded == []
    assert api("GET", "/tried/a%2Fb?c=d").body == b"tried /tried/a%2Fb "
    assert api("GET", "/tried").status == api("GET", "/tried/").status == 200
    assert loaded == ["tried"]
    for path in ("/", "/any/path", "/triedx", "/token"):
        assert api("GET", path).status == 404


def test_the_protocol_keeps_its_paths(loaded: list[str], api: Any) -> None:
    for path in ("/v2", "/v2/none/of/these"):
        assert api("GET", path).status == 404 or path == "/v2"
    assert loaded == []


def test_what_holds_for_all_holds_for_them(
    loaded: list[str], tmp_path: Any, api_of: Any, make: SimpleNamespace
) -> None:
    said: list[str] = []
    with RunningServer(str(tmp_path / "r"), log=said.append, access=said.append) as serving:
        api = api_of(serving.url)
        assert api("POST", "/tried", b"0123456789").status == 200
        assert api("POST", "/tried", b"x" * 11).status == 413
        assert api("GET", "/tried?" + "q" * 5000).status == 414
        assert said == [line for line in said if '"POST /tried" ' in line or '"GET /tried?' in line]
        assert len(said) == 3
        found = api("GET", "/tried/none")
        assert (found.status, found.json["errors"][0]["message"]) == (404, "there is none")
        found = api("GET", "/tried/fails")
        assert found.status == 500
        assert b"secret" not in found.body
        assert any("a secret of the registry" in line for line in said)


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, api: Any) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in [name for name in sys.modules if name.startswith("nacre.services.server.page")]:
        monkeypatch.delitem(sys.modules, name)
    found = api("GET", "/")
    assert found.status == 404
    assert "pip install nacre-oci[registry]" in found.json["errors"][0]["message"]
