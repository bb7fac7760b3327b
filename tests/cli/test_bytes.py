"""Bytes that are no UTF-8, as every shell glob may give them: kept where they go on, shown, never a crash."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nacre.cli.commands import COMMANDS, COMMON, CommandEntry
from nacre.cli.groups import GROUPS
from nacre.cli.main import _bytes
from nacre.words.oci import ImageConfig
from nacre.words.quickjson import dumps, loads

if TYPE_CHECKING:
    from conftest import Nacre

BYTES = b"a\xffb"
TEXT = os.fsdecode(BYTES)
SKIPPED = ("demo", "login", "logout", "serve")


def call(nacre: Nacre, *words: str | bytes, input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*nacre.command(), *words], input=input, capture_output=True, env=nacre.env, cwd=nacre.folder,
        check=False, timeout=180,
    )  # fmt: skip


def test_json_holds_them() -> None:
    assert dumps([TEXT, "é", "\ud800"]) == '["a\\udcffb","é","\\ud800"]'
    assert loads(dumps({TEXT: TEXT})) == {TEXT: TEXT}


def test_a_program_gets_them(nacre: Nacre, busybox_image: str) -> None:
    script = 'printf %s "$1$V" | od -An -tx1'
    words = ["run", "--name", "box", "-e", b"V=" + BYTES, "--label", b"l=" + BYTES, busybox_image]
    done = call(nacre, *words, "sh", "-c", script, "sh", BYTES)
    assert (done.returncode, done.stdout.split()) == (0, b"61 ff 62 61 ff 62".split())
    assert b"a\xef\xbf\xbdb" in call(nacre, "ps", "-a", "--no-trunc").stdout
    (document,) = json.loads(call(nacre, "inspect", "box").stdout.decode())
    assert document["Args"][-1] == TEXT
    assert call(nacre, "inspect", "-f", "{{index .Args 3}}|{{.Config.Labels.l}}", "box").stdout == (
        BYTES + b"|" + BYTES + b"\n"
    )
    again = call(nacre, "start", "-a", "box")
    assert (again.returncode, again.stdout.split()) == (0, b"61 ff 62 61 ff 62".split())


def test_a_build_keeps_them(nacre: Nacre, tmp_path: Path) -> None:
    context = os.fsencode(tmp_path) + b"/c" + BYTES
    os.mkdir(context)
    for name, content in ((b"Dockerfile", b"FROM scratch\nCOPY f* /\n"), (b"f" + BYTES, b"content")):
        with open(context + b"/" + name, "wb") as file:
            file.write(content)
    done = call(nacre, "build", "-q", "--label", b"l=" + BYTES, "-t", "app:1", context)
    assert done.returncode == 0, done.stderr
    out = os.fsencode(tmp_path) + b"/o" + BYTES
    assert call(nacre, "save", "-o", out + b".tar", "app:1").returncode == 0
    nacre("create", "--name", "box", "app:1", "x")
    assert call(nacre, "cp", b"box:/f" + BYTES, out).returncode == 0
    with open(out, "rb") as file:
        assert file.read() == b"content"
    assert json.loads(call(nacre, "inspect", "app:1").stdout.decode())[0]["Config"]["Labels"] == {"l": TEXT}


def test_half_a_pair_of_surrogates_in_a_document() -> None:
    """Go reads it as U+FFFD; what stands for a byte stays."""
    data = b'{"config":{"Labels":{"a":"\\udcff\\ud800.\\ud83d\\ude00"}},"architecture":"arm64","os":"linux"}'
    assert ImageConfig.parse(data).labels == {"a": "\udcff\ufffd.\U0001f600"}


def test_output_takes_any_text() -> None:
    text = "a\udcffb\ud800"
    assert _bytes(UnicodeEncodeError("utf-8", text, 1, 2, "surrogates not allowed")) == (b"\xff", 2)
    assert _bytes(UnicodeEncodeError("utf-8", text, 3, 4, "surrogates not allowed")) == (b"\xef\xbf\xbd", 4)


def places() -> list[tuple[str, CommandEntry]]:
    single = {**COMMON, **COMMANDS}.items()
    grouped = [
        (f"{title} {name}", entry)
        for title, group in GROUPS.items()
        for name, entry in group.commands.items()
    ]
    found = {(entry.module, entry.attribute): (name, entry) for name, entry in [*grouped, *single]}
    return [(name, entry) for name, entry in found.values() if name.split()[-1] not in SKIPPED]


@pytest.mark.parametrize("name", [name for name, _ in sorted(places(), key=lambda place: place[0])])
def test_no_command_ends_in_a_crash(nacre: Nacre, name: str) -> None:
    trials: tuple[tuple[Any, ...], ...] = ((BYTES,), (BYTES, BYTES), (BYTES, BYTES, BYTES), (b"--" + BYTES,))
    for words in trials:
        done = call(nacre, *name.split(), *words)
        said = done.stderr + done.stdout
        assert b"internal error" not in said, (words, said)
        assert b"Traceback" not in said, (words, said)
        assert 0 <= done.returncode < 128
