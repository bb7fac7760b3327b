"""What docs/examples shows of running a registry is accepted by those who read it."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from nacre.cli.registry import COMMAND

UNIT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "nacre-registry.service"


def test_the_unit_starts_the_command_with_its_options() -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    words = parser["Service"]["ExecStart"].split()
    assert words[1:3] == ["registry", "serve"]
    assert {word[2:] for word in words if word.startswith("--")} <= {
        option.name for option in COMMAND.options
    }


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/nacre", "/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
