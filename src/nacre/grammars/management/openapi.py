"""The OpenAPI 3.1 document of the management API, made of the table of operations."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from msgspec import json

from .operations import ADMINISTRATOR, ONESELF, OPERATIONS, PARAMETERS, PREFIX, ApiOperation
from .records import ErrorAnswer

_REF = "#/components/schemas/{name}"
_REFUSALS = {
    "400": "The request is not understood", "401": "Nobody, or the credentials are wrong",
    "403": "Somebody who may not", "404": "There is no such thing", "409": "What is there does not allow it",
    "429": "Too many requests", "503": "Something that the registry relies on does not answer",
}  # fmt: skip
_QUERY_REFUSALS = {"414": "The query is too long"}
_BODY_REFUSALS = {
    "408": "The body comes too slowly", "413": "The body is too large", "415": "The body is not JSON",
}  # fmt: skip
_ALL_REFUSALS = _REFUSALS | _QUERY_REFUSALS | _BODY_REFUSALS


@cache
def document() -> dict[str, Any]:
    """The whole of it."""
    shapes, schemas = _schemas()
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(PREFIX + each.path, {})[each.method.lower()] = _operation(each, shapes)
    for path, methods in paths.items():
        methods["parameters"] = [_parameter(name) for name in re.findall(r"{(\w+)}", path)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nacre registry", "version": PREFIX.rpartition("/v")[2],
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Manages a registry. Errors are those of the distribution protocol.",
        },
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "A password, or a token for it"},
            },
            "responses": {name: _refusal(text) for name, text in _ALL_REFUSALS.items()},
            "schemas": schemas,
        },
    }  # fmt: skip


@cache
def encoded() -> bytes:
    """As it is served and kept."""
    return json.format(json.encode(document()), indent=2) + b"\n"


def _schemas() -> tuple[dict[Any, Any], dict[str, Any]]:
    """What stands for each type, and the schemas by name."""
    types = [kind for each in OPERATIONS for kind in (each.body, each.answer) if kind]
    unique = list(dict.fromkeys([*types, ErrorAnswer]))
    shapes, schemas = json.schema_components(unique, ref_template=_REF)
    return dict(zip(unique, shapes, strict=True)), dict(sorted(schemas.items()))


def _operation(each: ApiOperation, shapes: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": each.name, "summary": each.summary, "tags": [each.group],
        "description": _who(each), "responses": _responses(each, shapes),
    }  # fmt: skip
    if each.query:
        found["parameters"] = _query(each.query)
    if each.body:
        content = {"application/json": {"schema": shapes[each.body]}}
        found["requestBody"] = {"required": True, "content": content}
    if not each.needs:
        found["security"] = [{}, {"basic": []}]
    return found


def _who(each: ApiOperation) -> str:
    """Who may, in words."""
    if each.needs == ADMINISTRATOR:
        text = "For administrators."
    elif each.needs == ONESELF:
        text = "For users, by their own password."
    elif each.needs:
        what = "repository" if "{repository}" in each.path else "namespace"
        text = f"For whoever has the role {each.needs} in the {what}."
    else:
        text = "For everybody."
    return text if each.open else f"{text} Not in a registry without accounts."


def _responses(each: ApiOperation, shapes: dict[Any, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": "Done"}
    if each.answer:
        done["content"] = {"application/json": {"schema": shapes[each.answer]}}
    if each.media:
        done["content"] = {each.media: {"schema": {"type": "string", "format": "binary"}}}
    refusals = _REFUSALS | (_QUERY_REFUSALS if each.query else {}) | (_BODY_REFUSALS if each.body else {})
    others = {status: {"$ref": f"#/components/responses/{status}"} for status in refusals}
    return {str(each.status): done, **others}


def _refusal(text: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(name="ErrorAnswer")}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": json.schema(PARAMETERS[name])}


def _query(kind: Any) -> list[dict[str, Any]]:
    _, schemas = json.schema_components([kind], ref_template=_REF)
    fields = schemas[kind.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": field} for name, field in fields.items()
    ]
