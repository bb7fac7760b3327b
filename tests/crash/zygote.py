"""Many command lines from one interpreter: `python -P zygote.py`, one request in JSON on each line of input.

    {"words": […], "in": PATH, "out": PATH, "env": {…}, "cwd": PATH, "note": PATH, "die": "name#n"}
                                     run `nacre words…` in a fork; with `note` write down every trace
                                     point passed, with `die` kill -9 the command at that one, after
                                     copying the file `cut[0]` to `cut[1]` if that is given;
                                     with `fill` it is not killed, but the file of that name fills its disk;
                                     the name `*` is every point; with `alarm` it is killed after so many
                                     seconds, wherever it is; with `pauses`, a seed, it stands still for some
                                     milliseconds now and then, so that others come in between any two calls;
                                     with `later` it begins after so many seconds; with `environment` it has
                                     no other variables than these
    {"call": [module, function, …args]}    call a function of this folder in a fork, mapped as a command is

    {"many": [[request, …], …]}      every list in a fork of its own, all at once; the value has the answers;
                                     with `stop` the rest of a list is left out after a command that failed
    null                             the end

With `boot` the fork believes that the machine was started again since, if it was another word before. The
answer is {"code": n, "err": text, "value": …} on one line. What a fork does not have to do again is
import everything: a command takes a tenth of the time, so that hundreds of them make one test.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from hugepages import collapse

SECONDS = 800
_BETWEEN, _PAUSE = 6000, 0.02
"""Most calls, of Python's and C's functions, between two pauses, and the seconds of a pause at most."""
_MOVING = {"flock", "link", "listdir", "rename", "rmdir", "scandir", "unlink"}
_WEIGHTS = (1, 300, 3000)
"""Calls that look at names or move them count as so many: what others do just then is what matters."""
_STILL = 0.5
"""Seconds that a command stands still in all."""


def main(*, tuned: bool = True) -> None:
    """`tuned`: small layers go every way that large ones go."""
    _load()
    if tuned:
        _tune()
    collapse()
    while request := json.loads(sys.stdin.readline() or "null"):
        print(json.dumps(answer(request)), flush=True)


def _load() -> None:
    """Import what commands import, and what is called. No thread starts by that."""
    import invariants  # noqa: F401

    import nacre.cli
    import nacre.images
    import nacre.services.build
    import nacre.services.client
    import nacre.services.containers
    import nacre.stores

    for package in (nacre.cli, nacre.images, nacre.stores, nacre.services.build, nacre.services.containers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def _tune() -> None:
    from nacre.images.layers import division
    from nacre.services.client import upload

    upload.SMALL = 1 << 12  # so that layers of some kilobytes go in the two ways
    division.WORTH = 1  # and come by two processes


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as value:
        pid = os.fork()
        if pid == 0:
            _child(request, err.fileno(), value.fileno())
        code = _wait(pid)
        for file in (err, value):
            file.seek(0)
        said, text = err.read().decode(errors="replace"), value.read().decode()
    return {"code": code, "err": said, "value": json.loads(text) if text else None}


def _wait(pid: int) -> int:
    """Its exit code, negative for a signal; what takes too long is killed."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(SECONDS)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        signal.alarm(0)


def _child(request: dict[str, Any], err: int, value: int) -> None:
    code = 70
    try:
        os.setsid()
        os.dup2(err, 2)
        _believe(request.get("boot", ""))
        if "many" in request:
            code = _many(request["many"], value, request.get("stop", False))
        elif "call" in request:
            code = _call(request["call"], value)
        else:
            _command(request)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _many(lists: list[list[dict[str, Any]]], value: int, stop: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        pids = [_worker(f"{folder}/{number}", requests, stop) for number, requests in enumerate(lists)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        answers = []
        for number in range(len(lists)):
            with open(f"{folder}/{number}", encoding="utf-8") as file:
                answers.append(json.load(file))
    os.write(value, json.dumps(answers).encode())
    return max(codes)


def _worker(path: str, requests: list[dict[str, Any]], stop: bool) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(list(_answers(requests, stop)), file)
            code = 0
        finally:
            os._exit(code)
    return pid


def _answers(requests: list[dict[str, Any]], stop: bool) -> Iterator[dict[str, Any]]:
    for request in requests:
        yield (one := answer(request))
        if stop and one["code"]:
            return


def _call(words: list[Any], value: int) -> int:
    from nacre.ground import userns

    userns.enter()
    found = getattr(importlib.import_module(words[0]), words[1])(*words[2:])
    os.write(value, json.dumps(found).encode())
    return 0


def _command(request: dict[str, Any]) -> None:
    _redirect(request.get("in") or os.devnull, os.O_RDONLY, 0)
    _redirect(request.get("out") or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1)
    os.chdir(request["cwd"])
    if "environment" in request:
        os.environ.clear()
    os.environ.update(request.get("environment") or request.get("env", {}))
    tempfile.tempdir = None
    time.tzset()
    if request.get("note") or request.get("die"):
        _install(request.get("note", ""), request.get("die", ""), _blow(request))
    time.sleep(request.get("later", 0))
    if request.get("pauses"):
        _pause_at_times(request["pauses"])
    if request.get("alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, request["alarm"])
    sys.argv = ["nacre", *request["words"]]
    from nacre.cli.main import entry

    entry()


def _pause_at_times(seed: int) -> None:
    chance = random.Random(seed)
    left, weight, still = chance.randrange(_BETWEEN), chance.choice(_WEIGHTS), _STILL

    def hook(_frame: object, event: str, function: object) -> None:
        nonlocal left, still
        moves = event == "c_call" and getattr(function, "__name__", "") in _MOVING
        left -= weight if moves else 1
        if left < 0 < still:
            left, seconds = chance.randrange(_BETWEEN), chance.random() * _PAUSE
            still -= seconds
            time.sleep(seconds)

    sys.setprofile(hook)
    threading.setprofile(hook)


def _redirect(path: str, flags: int, number: int) -> None:
    fd = os.open(path, flags, 0o600)
    os.dup2(fd, number)
    os.close(fd)


def _believe(boot: str) -> None:
    if boot:
        from nacre.stores import database

        database._boot = boot


def _blow(request: dict[str, Any]) -> Callable[[], None]:
    """What happens at the chosen point."""
    me = os.getpid()

    def kill() -> None:
        if "cut" in request:
            copy_sparse(*request["cut"])
        os.kill(me, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    return (lambda: fill(request["fill"])) if "fill" in request else kill


def _install(note: str, die: str, blow: Callable[[], None]) -> None:
    """The hook goes along into forks of the command, which count together; what is killed is the command."""
    from nacre.ground.files import install_trace

    name, _, nth = die.partition("#")
    fd = os.open(note or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    place = os.fstat(fd).st_ino
    before = os.eventfd(int(nth or 1) - 1, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    done = False

    def hook(passed: str) -> None:
        nonlocal done
        if not _is_open(fd, place):  # a fork that keeps nothing of the command
            return
        os.write(fd, f"{passed}\n".encode())
        if name in (passed, "*") and not done:
            try:
                os.eventfd_read(before)
            except BlockingIOError:
                done = True
                blow()

    install_trace(hook)


def _is_open(fd: int, inode: int) -> bool:
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False


def fill(path: str) -> None:
    """Take all the room that there is on the disk of `path`."""
    piece = 1 << 20
    with open(path, "ab", buffering=0) as file:
        while piece >= 512:
            try:
                file.write(bytes(piece))
            except OSError:
                piece //= 2


def copy_sparse(source: str, target: str) -> None:
    """The data of a file with its holes. What a loop device was given is in its file, synced or not."""
    with open(source, "rb") as old, open(target, "wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        for start, end in _data(old.fileno(), size):
            os.lseek(old.fileno(), start, os.SEEK_SET)
            os.lseek(new.fileno(), start, os.SEEK_SET)
            while start < end:
                start += os.sendfile(new.fileno(), old.fileno(), None, end - start)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


if __name__ == "__main__":
    main()
