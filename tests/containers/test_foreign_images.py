"""Containers of images for other platforms."""

from __future__ import annotations

from typing import Any


def test_platforms(nacre: Any, busybox_image: str, busybox_tar: bytes) -> None:
    done = nacre("run", "--rm", "--platform", "linux/s390x", "host:python3", "true", check=False)
    assert done.code == 125
    assert "nacre: image with reference host:python3 was found but its platform (linux/" in done.err
    assert "does not match the specified platform (linux/s390x)\n" in done.err
    said = nacre("pull", "--platform", "linux/s390x", "host:python3").err
    assert "WARNING: image with reference host:python3 was found" in said
    nacre("import", "--platform", "linux/s390x", "-", "foreign", input=busybox_tar)
    done = nacre("run", "--rm", "foreign", "true")
    assert "WARNING: The requested image's platform (linux/s390x) does not match the detected" in done.err


def test_the_platform_of_the_environment(nacre: Any, busybox_tar: bytes) -> None:
    nacre.env["DOCKER_DEFAULT_PLATFORM"] = "linux/s390x"
    nacre("import", "-", "foreign", input=busybox_tar)
    assert nacre("image", "inspect", "-f", "{{.Architecture}}", "foreign").out == "s390x\n"
    assert "(linux/s390x)" in nacre("pull", "host:python3").err
    for verb in ("run", "create"):
        done = nacre(verb, "host:python3", "true", check=False)
        assert "does not match the specified platform (linux/s390x)\n" in done.err
    nacre.env["DOCKER_DEFAULT_PLATFORM"] = "s390y"
    assert "invalid platform 's390y'" in nacre("create", "foreign", check=False).err
