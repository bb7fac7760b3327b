"""`nacre build --ssh ID=KEY`: agents of OpenSSH with key files, for the time of a build."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nacre.engine.sshkeys import KeyAgents
from nacre.services.build import BuildOptions
from nacre.words.errors import NacreError


@pytest.fixture
def key(tmp_path: Path, peer: Callable[..., None]) -> Path:
    """A key without a passphrase."""
    peer("ssh-keygen", "ssh-agent", "ssh-add")
    return made(tmp_path / "key")


def made(path: Path, passphrase: str = "") -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "a comment", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return path


def listed(socket: str) -> str:
    env = {**os.environ, "SSH_AUTH_SOCK": socket}
    return subprocess.run(["ssh-add", "-l"], env=env, capture_output=True, text=True, check=False).stdout


def test_an_agent_has_the_keys_until_the_end(key: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    options = BuildOptions(agents=(("default", f"{key},{other}"),))
    with KeyAgents(options) as agents:
        ((name, socket),) = agents.options.agents
        assert (name, listed(socket).count("a comment")) == ("default", 2)
        with KeyAgents(agents.options) as again:  # a socket is taken as it is
            assert again.options == agents.options
    assert not os.path.exists(os.path.dirname(socket))


def test_an_agent_ends_with_a_builder_that_is_killed(key: Path) -> None:
    script = (
        "import sys\nfrom nacre.engine.sshkeys import KeyAgents\n"
        "from nacre.services.build import BuildOptions\n"
        "agents = KeyAgents(BuildOptions(agents=(('default', sys.argv[1]),)))\n"
        "print(agents.options.agents[0][1], flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(key)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    socket = process.stdout.readline().strip()
    agent = os.pidfd_open(_listener(socket))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert select.select([agent], [], [], 30)[0]
    os.close(agent)
    assert listed(socket) == ""


def _listener(socket: str) -> int:
    """The process with this argument."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ssh-agent") and socket.encode() in words:
            return int(name)
    pytest.fail("there is no agent")


def test_what_is_no_key_is_named(key: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key\n")
    (tmp_path / "text").chmod(0o600)
    for path in (tmp_path / "text", made(tmp_path / "locked", "secret"), tmp_path / "absent"):
        with pytest.raises(NacreError, match=str(path)):
            KeyAgents(BuildOptions(agents=(("default", f"{key},{path}"),)))


def test_a_build_with_a_key(key: Path, project: Any) -> None:
    text = "FROM busybox:test\nRUN --mount=type=ssh,id=mine,required=true test -S $SSH_AUTH_SOCK\n"
    project.build(text, "--ssh", f"mine={key}")
    done = project.fails(text + "RUN true\n", "--no-cache", "--ssh", f"mine={key}.absent")
    assert f"{key}.absent: no such file or directory" in done.err
