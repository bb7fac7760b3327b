from __future__ import annotations

import fcntl
import io
import json
import os
import struct
import termios
import threading
from pathlib import Path
from typing import Any

import pytest

from nacre.cli import terminal
from nacre.cli.context import Context
from nacre.words.errors import UsageError


def context(**environment: str) -> Context:
    return Context(environment, streams=(io.StringIO(), io.StringIO(), io.StringIO()))


def test_root() -> None:
    own = "/var/lib/nacre" if os.geteuid() == 0 else "/home/u/.local/share/nacre"
    assert context(HOME="/home/u").root == own
    assert context(HOME="/home/u", NACRE_ROOT="/x").root == "/x"
    assert Context({"NACRE_ROOT": "/x"}, root="/y").root == "/y"
    assert Context({}, root="sub").root == os.path.abspath("sub")


@pytest.mark.skipif(os.geteuid() == 0, reason="root keeps its store under /var/lib")
def test_root_of_a_user() -> None:
    assert context(HOME="/home/u", XDG_DATA_HOME="/data").root == "/data/nacre"
    assert context(HOME="/home/u", XDG_DATA_HOME="relative").root == "/home/u/.local/share/nacre"


def test_home_without_the_variable() -> None:
    assert context().home


def test_driver() -> None:
    assert context().driver == "auto"
    assert context(NACRE_STORAGE_DRIVER="overlay").driver == "overlay"
    with pytest.raises(UsageError):
        context(NACRE_STORAGE_DRIVER="zfs")


def test_docker_config(tmp_path: Path) -> None:
    assert context(HOME="/home/u").docker_config == "/home/u/.docker/config.json"
    assert context(HOME="/home/u", DOCKER_CONFIG="/d").docker_config == "/d/config.json"


def test_proxies() -> None:
    found = context(HTTPS_PROXY="http://p", no_proxy="x", HTTP_PROXY="").proxies()
    assert found == {"https_proxy": "http://p", "no_proxy": "x"}


def test_print_and_warn_keep_their_order() -> None:
    both = io.StringIO()
    with Context({}, streams=(io.StringIO(), both, both)) as shared:
        shared.print("one")
        shared.warn("two")
        shared.print("three")
    assert both.getvalue() == "one\ntwo\nthree\n"


def drive(display: terminal.Display) -> None:
    with display as progress:
        progress.line("latest: Pulling from library/app")
        first, second = progress.task("aaaa"), progress.task("bbbb")
        first.phase("Downloading", 2000)
        second.phase("Extracting")
        first.advance(1000)
        second.advance(7)
        first.done("Pull complete")
        second.done("Already exists")


def test_plain_is_a_line_for_each_task() -> None:
    out = io.StringIO()
    drive(terminal.Plain(out))
    assert out.getvalue() == "latest: Pulling from library/app\naaaa: Pull complete\nbbbb: Already exists\n"


def test_quiet_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    drive(terminal.Display())
    assert capfd.readouterr() == ("", "")


def test_events_are_json_lines() -> None:
    out = io.StringIO()
    drive(terminal.Events(out))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0] == {"status": "latest: Pulling from library/app"}
    started = {"id": "aaaa", "status": "Downloading", "progressDetail": {"current": 0, "total": 2000}}
    assert started in events
    assert events[-1] == {"id": "bbbb", "status": "Already exists"}


class Screen(io.StringIO):
    """A terminal that understands what the live display uses: newline, up, carriage return, erase below."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        lines, row = [""], 0
        text = self.getvalue()
        while text:
            if text.startswith("\x1b["):
                end = next(i for i, char in enumerate(text) if char.isalpha())
                if text[end] == "A":
                    row -= int(text[2:end])
                else:
                    assert text[2 : end + 1] == "J"
                    del lines[row:]
                    lines.append("")
                text = text[end + 1 :]
                continue
            char, text = text[0], text[1:]
            if char == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif char != "\r":
                lines[row] += char
        return lines


def test_live_ends_with_every_line_standing() -> None:
    screen = Screen()
    drive(terminal.Live(screen))
    assert screen.shown() == [
        "latest: Pulling from library/app",
        "aaaa: Pull complete",
        "bbbb: Already exists",
        "",
    ]


def test_live_draws_bars_and_keeps_its_place() -> None:
    screen = Screen()
    live = terminal.Live(screen)
    assert live.live
    task = live.task("aaaa")
    task.phase("Downloading", 2000)
    task.advance(1000)
    live.line("news")
    assert screen.shown() == ["news", "aaaa: Downloading [============>            ]  1kB/2kB", ""]
    live.close()
    live.close()
    assert not live.live


class Sized(Screen):
    """One that says its size by the descriptor of a real terminal."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self.pair = os.openpty()
        fcntl.ioctl(self.pair[1], termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def fileno(self) -> int:
        return self.pair[1]

    def close(self) -> None:
        for fd in self.pair:
            os.close(fd)
        super().close()


@pytest.mark.parametrize(("size", "shown"), [((20, 5), (20, 5)), ((0, 0), (80, 24)), ((200, 50), (200, 31))])
def test_live_fits_the_screen(size: tuple[int, int], shown: tuple[int, int]) -> None:
    """A terminal without a size, as `script` and many a CI give one, counts as 80 by 24."""
    screen = Sized(*size)
    live = terminal.Live(screen)
    tasks = [live.task(f"layer{number}") for number in range(30)]
    for task in tasks:
        task.phase("Downloading a long time" + " and more" * 30, 10)
    assert len(screen.shown()) == shown[1]
    assert max(map(len, screen.shown())) <= shown[0]
    for task in tasks:
        task.done("ok")
    live.close()
    assert screen.shown() == [*(f"layer{number}: ok" for number in range(30)), ""]
    screen.close()


def test_displays_take_calls_from_many_threads() -> None:
    screen = Screen()
    live = terminal.Live(screen)

    def work(number: int) -> None:
        task = live.task(f"layer{number}")
        task.phase("Downloading", 100)
        for _ in range(100):
            task.advance(1)
        assert task.count == 100  # type: ignore[attr-defined]
        task.done("ok")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live.close()
    assert sorted(screen.shown()) == ["", *(f"layer{number}: ok" for number in range(8))]


def test_the_display_that_fits() -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    def chosen(stream: io.StringIO, form: str = "auto", *, quiet: bool = False, term: str = "xterm") -> type:
        with Context({"TERM": term}, streams=(io.StringIO(), io.StringIO(), stream)) as one:
            return type(one.progress(quiet=quiet, form=form))

    assert chosen(Tty()) is terminal.Live
    assert chosen(Tty(), term="dumb") is terminal.Plain
    assert chosen(Tty(), "plain") is terminal.Plain
    assert chosen(io.StringIO()) is terminal.Plain
    assert chosen(Tty(), "json") is terminal.Events
    assert chosen(Tty(), quiet=True) is terminal.Display


def test_warnings_go_above_a_live_display() -> None:
    screen = Screen()
    with Context({"TERM": "xterm"}, streams=(io.StringIO(), io.StringIO(), screen)) as one:
        with one.progress() as progress:
            task = progress.task("aaaa")
            one.warn("careful")
            assert screen.shown() == ["careful", "aaaa: Waiting", ""]
            task.done("ok")
        one.warn("after")
    assert screen.shown() == ["careful", "aaaa: ok", "after", ""]


def test_containers_get_the_proxies_of_dockers_config(nacre: Any, busybox_image: str, tmp_path: Path) -> None:
    """As docker does: in both spellings, unless the variable is given; none of the host's environment."""
    config = '{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "here"}}}'
    (tmp_path / "config.json").write_text(config)
    show = "env | grep -i proxy | sort"
    given = {"DOCKER_CONFIG": str(tmp_path), "https_proxy": "http://host:1"}
    out = nacre("run", "--rm", "-e", "no_proxy=mine", busybox_image, "sh", "-c", show, **given).out
    assert out == "HTTP_PROXY=http://p:1\nNO_PROXY=here\nhttp_proxy=http://p:1\nno_proxy=mine\n"
    (tmp_path / "config.json").write_text("[]")
    result = nacre("run", "--rm", busybox_image, "true", **given)
    assert f"its proxies are ignored: {tmp_path}/config.json is not valid JSON" in result.err
