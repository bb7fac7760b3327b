"""Names of packages, compared as PyPI does."""

from __future__ import annotations


def canonical(name: str) -> str:
    """The one spelling of a name: Foo_Bar is foo-bar. Source: PyPA, *Names and normalization*."""
    name = name.replace("_", "-").replace(".", "-").lower()
    while "--" in name:
        name = name.replace("--", "-")
    return name
