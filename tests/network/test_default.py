"""Which network a container has when none is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from lab import MACHINE, OUTSIDE, Lab, ask
from waiting import until

IMAGE = "busybox:test"
LINKS = ("ls", "/sys/class/net")
SHARED = "WARNING: the container shares the network of this machine: "


@pytest.fixture
def unset(nacre: Any) -> None:
    """The tests' own choice is forgotten."""
    nacre.env.pop("NACRE_NETWORK", None)


@pytest.mark.usefixtures("unset")
def test_of_root_it_is_bridge(lab: Lab) -> None:
    for words in ([], ["--network", "default"]):
        done = lab("run", "--rm", *words, IMAGE, *LINKS)
        assert (done.out.split(), done.err) == (["eth0", "lo"], "")
    lab.run("--name", "c1", "-p", "8080:80")
    assert lab("inspect", "-f", "{{.HostConfig.NetworkMode}}", "c1").out == "bridge\n"
    with lab.serving("c1", 80):
        assert ask(lab.outside, MACHINE, 8080) == f"c1 {OUTSIDE}"
    lab("create", "--name", "c2", IMAGE, *LINKS)
    assert lab("start", "-a", "c2").out.split() == ["eth0", "lo"]
    lab("rm", "-f", "c1", "c2")
    until(lab.is_empty)


@pytest.mark.usefixtures("unset")
def test_the_machine_is_asked_once(lab: Lab, nacre: Any) -> None:
    """Whether it is possible; what is known of another boot or namespace does not count."""
    known = nacre.root / "networks" / ".probed"
    lab("run", "--rm", IMAGE, "true")
    found = os.readlink(known)
    lab("run", "--rm", IMAGE, "true")
    assert os.readlink(known) == found
    known.unlink()
    known.symlink_to("elsewhere")
    assert lab("run", "--rm", IMAGE, *LINKS).out.split() == ["eth0", "lo"]
    assert os.readlink(known) == found


@pytest.mark.parametrize(("given", "links"), [("host", ["lo", "up0"]), ("none", ["lo"])])
def test_another_default(lab: Lab, nacre: Any, given: str, links: list[str]) -> None:
    nacre.env["NACRE_NETWORK"] = given
    assert lab("run", "--rm", IMAGE, *LINKS).out.split() == links
    assert lab("run", "--rm", "--network", "bridge", IMAGE, *LINKS).out.split() == ["eth0", "lo"]


@pytest.mark.usefixtures("unset")
def test_where_networks_cannot_be_managed(lab: Lab, nacre: Any) -> None:
    """Without CAP_NET_ADMIN the network is shared, and one line says so; who asks for another is refused."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    limits = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    code, out, err = _started_by(limits, lab, nacre, IMAGE, *LINKS)
    assert (code, out.split()) == (0, ["lo", "up0"]), err
    assert err.startswith(SHARED)
    assert err.count("\n") == 1
    code, _, err = _started_by(limits, lab, nacre, "--network", "bridge", IMAGE, *LINKS)
    assert code == 125
    assert "Operation not permitted" in err
    assert not (nacre.root / "networks" / ".probed").is_symlink()


def _started_by(before: list[str], lab: Lab, nacre: Any, *words: str) -> tuple[int, str, str]:
    """Code and streams of `nacre run --rm` that another program starts on the machine."""
    done = subprocess.run(
        lab.command("run", "--rm", *words, before=before),
        env=nacre.env, cwd=nacre.folder, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("unset")
def test_where_packets_cannot_be_forwarded(lab: Lab, nacre: Any) -> None:
    lab.forward(False)
    script = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'
    _, out, err = _started_by(["unshare", "--mount", "sh", "-c", script, "sh"], lab, nacre, IMAGE, *LINKS)
    assert out.split() == ["lo", "up0"]
    assert err == f"{SHARED}it does not forward packets, and that cannot be changed\n"
