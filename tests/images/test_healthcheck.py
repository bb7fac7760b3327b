"""Health checks of images and users."""

from __future__ import annotations

from typing import Any

import pytest

from nacre.images.model.healthcheck import HealthCheck, HealthOptions, merged
from nacre.words.errors import UsageError
from nacre.words.oci import ImageConfig


def image(check: object) -> ImageConfig:
    return ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": {"Healthcheck": check}})


OWN = {"Test": ["CMD", "a"], "Interval": 10**9, "Retries": 5}


@pytest.mark.parametrize(
    ("of_image", "options", "found"),
    [
        (None, None, {}),
        (OWN, None, OWN),
        (OWN, HealthOptions("b", timeout=2), OWN | {"Test": ["CMD-SHELL", "b"], "Timeout": 2 * 10**9}),
        (OWN, HealthOptions(retries=1, interval=0.5), OWN | {"Retries": 1, "Interval": 5 * 10**8}),
        (OWN, HealthOptions(disabled=True), OWN | {"Test": ["NONE"]}),
        ({"Test": "x", "Interval": "1s", "Retries": -1, "Timeout": 1 << 70}, None, {}),
        ({"Test": ["CMD", 1]}, None, {}),
        ([], None, {}),
    ],
)
def test_what_image_and_user_say_together(
    of_image: object, options: HealthOptions | None, found: dict[str, Any]
) -> None:
    assert merged(image(of_image), options) == found


@pytest.mark.parametrize(
    ("document", "shell", "command"),
    [
        ({"Test": ["CMD", "a", "b"]}, None, ("a", "b")),
        ({"Test": ["CMD-SHELL", "a b"]}, None, ("/bin/sh", "-c", "a b")),
        ({"Test": ["CMD-SHELL", "a b"]}, ["/sh"], ("/sh", "a b")),
        ({"Test": ["CMD-SHELL", "a"]}, "sh", ("/bin/sh", "-c", "a")),
        ({"Test": ["NONE"]}, None, ()),
        ({"Test": ["CMD"]}, None, ()),
        ({"Test": ["CMD-SHELL"]}, None, ()),
        ({"Test": ["OTHER", "a"]}, None, ()),
        ({"Interval": 1}, None, ()),
    ],
)
def test_what_is_run(document: dict[str, Any], shell: object, command: tuple[str, ...]) -> None:
    check = HealthCheck.of(document, shell)
    assert (check.command if check else ()) == command


def test_defaults_are_dockers() -> None:
    assert HealthCheck.of({"Test": ["CMD", "a"]}) == HealthCheck(("a",), 30, 30, 0, 5, 3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"disabled": True, "command": "x"}, "--no-healthcheck conflicts with the options"),
        ({"retries": -1}, "--health-retries cannot be negative"),
        ({"interval": 0.0001}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"timeout": -1.0}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"start_period": float("nan")}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"start_interval": float("inf")}, "StartInterval in Healthcheck cannot be less than 1ms"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        HealthOptions(**fields)
