"""Bake files for tests: read from text, evaluated, planned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nacre.grammars.bake import compose, definition, hcl, plan

GIVEN = {"BAKE_CMD_CONTEXT": ".", "BAKE_LOCAL_PLATFORM": "linux/amd64"}


def defined(files: Mapping[str, str], environment: Mapping[str, str] | None = None) -> definition.Definition:
    """All of the files, by name and content."""
    found = definition.Definition()
    read = [(name, text.encode()) for name, text in files.items()]
    composed = [(name, data) for name, data in read if compose.is_compose(name)]
    if composed:
        compose.add_compose(found, composed, environment or {})
    bodies = [hcl.parse(data, name) for name, data in read if not compose.is_compose(name)]
    definition.add_bodies(found, bodies, environment or {}, GIVEN)
    return found


def planned(
    text: str | Mapping[str, str], *names: str, overrides: Sequence[tuple[str, str | None]] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The targets that `--print` shows, of one file in HCL or of several."""
    files = {"docker-bake.hcl": text} if isinstance(text, str) else text
    targets: dict[str, Any] = plan.resolve(defined(files, environment), names, overrides).document()["target"]
    return targets


def value(expression: str, **environment: str) -> Any:
    """What an expression is worth, as a string in `args`, or the list of `tags`."""
    shown = planned(
        f'target "default" {{\n args = {{ v = jsonencode({expression}) }}\n}}', environment=environment
    )
    return json.loads(shown["default"]["args"]["v"].replace("$${", "${").replace("%%{", "%{"))
