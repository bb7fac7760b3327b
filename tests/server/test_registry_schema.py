"""Every operation of the management API, and every endpoint of the distribution protocol, as schemathesis
asks for it: nothing fails, every status is documented, and every answer is what the document says.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("msgspec")
pytest.importorskip("schemathesis", reason="needs schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from nacre.engine.accounts import RegistryAccounts
from nacre.grammars.management.operations import OPERATIONS, PREFIX
from nacre.grammars.wire.routes import METHODS, Endpoint
from nacre.services.server import RunningServer

MANAGEMENT = json.loads((Path(__file__).parents[2] / "docs" / "registry-openapi.json").read_text("utf-8"))
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "2"))
"""Of what is allowed, and as many of what is not; each costs 20 to 60 ms to make."""
HOLD = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
)
QUIET = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""The same examples each time."""


# ── the distribution protocol, as its specification has it ──

_NAME = r"^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$"
_DIGEST = r"^sha256:[0-9a-f]{64}$"
_ERRORS = {
    "type": "object", "required": ["errors"],
    "properties": {"errors": {"type": "array", "minItems": 1, "items": {
        "type": "object", "required": ["code", "message"],
        "properties": {"code": {"type": "string", "pattern": "^[A-Z_]+$"}, "message": {"type": "string"}},
    }}},
}  # fmt: skip
_PARAMETERS = {
    "name": {"type": "string", "pattern": _NAME, "maxLength": 64},
    "reference": {"type": "string", "pattern": r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$"},
    "digest": {"type": "string", "pattern": _DIGEST},
    "upload": {"type": "string", "pattern": r"^[A-Za-z0-9_.=-]{1,64}$"},
}  # fmt: skip
_NUMBER = {"n": {"type": "integer"}, "last": {"type": "string"}}
_QUERIES: dict[tuple[str, str], dict[str, Any]] = {
    ("/v2/_catalog", "get"): _NUMBER, ("/v2/{name}/tags/list", "get"): _NUMBER,
    ("/v2/{name}/manifests/{reference}", "put"): {"tag": {"type": "string"}},
    ("/v2/{name}/blobs/uploads/", "post"): {
        "mount": {"type": "string"}, "from": {"type": "string"}, "digest": {"type": "string"},
        "digest-algorithm": {"type": "string"},
    },
    ("/v2/{name}/blobs/uploads/{upload}", "put"): {"digest": {"type": "string"}},
    ("/v2/{name}/referrers/{digest}", "get"): {"artifactType": {"type": "string"}},
}  # fmt: skip
_NAMES = {"type": "array", "items": {"type": "string"}}
_LISTS = {
    "/v2/_catalog": {
        "type": "object", "required": ["repositories"], "properties": {"repositories": _NAMES},
    },
    "/v2/{name}/tags/list": {
        "type": "object", "required": ["name", "tags"],
        "properties": {"name": {"type": "string"}, "tags": _NAMES},
    },
}  # fmt: skip
_GOOD = ("200", "201", "202", "204", "206", "304")
_BAD = ("400", "401", "403", "404", "405", "406", "409", "411", "412", "413", "414", "415", "416", "429")


def path_of(endpoint: Endpoint) -> str:
    """With parameters named by what they are."""
    what = {
        Endpoint.BLOB: "{digest}", Endpoint.REFERRERS: "{digest}", Endpoint.UPLOAD: "{upload}",
    }  # fmt: skip
    return endpoint.value.replace("{reference}", what.get(endpoint, "{reference}"))


def operation_of(path: str, method: str) -> dict[str, Any]:
    bad = {"description": "refused", "content": {"application/json": {"schema": _ERRORS}}}
    good: dict[str, Any] = {"description": "done"}
    if path in _LISTS:
        good["content"] = {"application/json": {"schema": _LISTS[path]}}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in _QUERIES.get((path, method), {}).items()
    ]
    found: dict[str, Any] = {
        "parameters": parameters,
        "responses": {**dict.fromkeys(_GOOD, good), **dict.fromkeys(_BAD, bad)},
    }
    if method in ("put", "post", "patch"):
        manifest: Any = "application/vnd.oci.image.manifest.v1+json", {"type": "object"}
        blob: Any = "application/octet-stream", {"type": "string", "format": "binary"}
        kind, schema = manifest if "manifests" in path else blob
        found["requestBody"] = {"content": {kind: {"schema": schema}}}
    return found


DISTRIBUTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "distribution", "version": "1.1"},
    "paths": {
        path_of(endpoint): {
            method.lower(): operation_of(path_of(endpoint), method.lower())
            for method in methods
            if method != "HEAD"
        }
        for endpoint, methods in METHODS.items()
    },
}


# ── asking ──


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """URL and credentials of an administrator of a registry."""
    folder = str(tmp_path_factory.mktemp("schema") / "registry")
    failed: list[str] = []
    with RegistryAccounts(folder, "test") as accounts:
        accounts.add_user("alice", "long enough", admin=True)
        secret = accounts.add_token("alice")[1]
    with RunningServer(folder, log=failed.append) as serving:
        basic = base64.b64encode(f"alice:{secret}".encode()).decode()
        yield serving.url, {"Authorization": f"Basic {basic}"}
    assert failed == []


@cache
def schema_of(title: str) -> Any:
    known = {each["info"]["title"]: each for each in (MANAGEMENT, DISTRIBUTION)}
    return schemathesis.openapi.from_dict(known[title])


def ask(document: dict[str, Any], path: str, method: str, shop: tuple[str, dict[str, str]]) -> None:
    """Ask for an operation by what its document allows, and by what it does not."""
    url, headers = shop
    schema = schema_of(document["info"]["title"])
    known = document["paths"][path]
    wrong = known[method.lower()].get("parameters") or known.get("parameters") or "requestBody" in known
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if wrong else (GenerationMode.POSITIVE,):

        @QUIET
        @given(case=schema[path][method].as_strategy(generation_mode=mode))
        def each(case: Any) -> None:
            case.call_and_validate(base_url=url, headers=headers, checks=HOLD)

        each()


@pytest.mark.parametrize(("path", "method"), [(PREFIX + each.path, each.method) for each in OPERATIONS])
def test_the_management_api(shop: tuple[str, dict[str, str]], path: str, method: str) -> None:
    ask(MANAGEMENT, path, method, shop)


@pytest.mark.parametrize(
    ("path", "method"), [(path, method) for path, each in DISTRIBUTION["paths"].items() for method in each]
)
def test_the_distribution_protocol(shop: tuple[str, dict[str, str]], path: str, method: str) -> None:
    ask(DISTRIBUTION, path, method, shop)
