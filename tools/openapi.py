"""Writes docs/registry-openapi.json: the OpenAPI document of a registry's management API, as it is served.

python tools/openapi.py
"""

from __future__ import annotations

from pathlib import Path

from nacre.grammars.management.openapi import encoded

PAGE = Path(__file__).resolve().parents[1] / "docs" / "registry-openapi.json"


if __name__ == "__main__":
    PAGE.write_bytes(encoded())
