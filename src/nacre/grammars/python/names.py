"""Names of packages, compared as PyPI does."""

from __future__ import annotations

import re


def canonical(name: str) -> str:
    """The one spelling of a name: Foo_Bar is foo-bar. Source: PyPA, *Names and normalization*."""
    return re.sub(r"[-_.]+", "-", name).lower()
