"""Published ports of ordinary users: their programs get the connections themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from switchlab import BRIDGE, IMAGE, SwitchLab
from world import OUTSIDE

ASK = """
import json, socket, sys
found = []
for word in sys.argv[3:]:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as made:
            own = list(made.getsockname())
            made.sendall(word.encode())
            data = b""
            while piece := made.recv(65536):
                data += piece
        found.append([own, json.loads(data or b"null")])
    except OSError as error:
        found.append([None, type(error).__name__])
print(json.dumps(found))
"""


def ask(lab: SwitchLab, host: str, *words: str) -> Any:
    """For each connection where it came from, and what was answered."""
    command = lab.world.command([sys.executable, "-c", ASK, host, "8080", *words])
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def begin(lab: SwitchLab, kind: str) -> None:
    words = *BRIDGE, "-p", "8080:80", *lab.python, IMAGE, "/inside.py", "serve", kind, str(lab.port("secret"))
    lab.nacre("run", "-d", "--name", "web", *words)
    lab.answers("web", 80)


@pytest.mark.parametrize("kind", ["blocking", "polled", "both", "deferred"])
def test_the_program_sees_who_comes(user_lab: SwitchLab, kind: str) -> None:
    """Also more visitors than there are bells, and with signals meanwhile."""
    begin(user_lab, kind)
    alarms = set()

    def signalled() -> bool:
        for own, found in ask(user_lab, OUTSIDE, *["who"] * 40):
            assert found["peer"] == (["::ffff:" + own[0], own[1]] if kind == "both" else own)
            assert found["known"]
            assert found["nodelay"]
            alarms.add(found["alarms"])
        return len(alarms) > 1

    user_lab.until(signalled)
    if kind == "both":
        own, found = ask(user_lab, "::1", "who")[0]
        assert found["peer"] == own[:2]


def test_its_own_connections_stay_inside(user_lab: SwitchLab) -> None:
    begin(user_lab, "polled")
    assert ask(user_lab, "127.0.0.1", "inside")[0][1] == {"peer": "own", "blocking": True}


def test_it_gets_no_more_than_the_connection(user_lab: SwitchLab) -> None:
    """Like a socket that was switched when it connected."""
    begin(user_lab, "polled")
    before = user_lab.secrets()
    found = ask(user_lab, "127.0.0.1", "misuse")[0][1]
    assert (found["sendto"], found["listen"], found["bind"]) == ("ENOTSUP", "EINVAL", "EINVAL")
    assert user_lab.secrets() == before


def test_nobody_waits_at_a_closed_port(user_lab: SwitchLab) -> None:
    begin(user_lab, "blocking")
    assert ask(user_lab, "127.0.0.1", "end")[0][1]["known"]
    user_lab.until(lambda: not user_lab.nacre("ps", "-q").out)
    assert ask(user_lab, "127.0.0.1", "who") == [[None, "ConnectionRefusedError"]]
