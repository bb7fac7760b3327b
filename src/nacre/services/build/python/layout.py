"""Where things lie in the image: a virtual environment, whatever the base has."""

from __future__ import annotations

VENV = "/opt/venv"
"""The same in every image, so that a wheel is the same layer everywhere."""
USER, UID = "app", 10001
TIME = 315_532_800
"""Seconds since 1970 that all laid files bear: the first of 1980, where zip begins."""

EXCLUDED = (
    ".git", "**/.git", ".venv", "venv", "**/__pycache__", "**/*.pyc", "**/.mypy_cache", "**/.pytest_cache",
    "**/.ruff_cache", ".tox", ".nox", "**/node_modules", "dist", "**/*.egg-info", ".env", ".dockerignore",
)  # fmt: skip
"""What of a project never gets into an image, besides what .dockerignore says."""


def python() -> str:
    """The interpreter of the environment."""
    return f"{VENV}/bin/python"


def packages(short: str) -> str:
    """The folder of modules for a version as 3.12."""
    return f"{VENV}/lib/python{short}/site-packages"
