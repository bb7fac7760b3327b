"""`nacre demo`: the guided tour. Every command it prints is run by a shell, so every one can be typed."""

from __future__ import annotations

from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen

    from ..services.client import Client
    from .context import Context
    from .options import Args

_APP = """\
import http.server, os, signal, sys

GREETING = "hello from nacre"

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{GREETING}, from {os.uname().nodename}\\n".encode())

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""

_DOCKERFILE = """\
FROM host:python3
WORKDIR /srv
RUN python3 -c "import this" > zen.txt && head -n 1 zen.txt
COPY app.py .
ENV PORT=8000
CMD ["python3", "app.py"]
"""


_FETCH = (
    "from http.client import HTTPConnection; page = HTTPConnection('127.0.0.1', {port}); "
    "page.request('GET', '/'); print(page.getresponse().read().decode())"
)
"""http.client asks no proxy; urllib would, for this machine too."""


class Tour:
    """The script of the tour: says, shows, does. `folder` holds everything it makes."""

    def __init__(self, context: Context, folder: str) -> None:
        self.context, self.folder = context, folder
        self.environment = {"NACRE_ROOT": f"{folder}/store"}
        self.background: list[Popen[bytes]] = []
        self.web, self.other, self.hub = _free_ports(3)

    def say(self, words: str) -> None:
        """Print `words` as a heading of the tour."""
        self.context.print(f"\n# {words}")

    def export(self, name: str, value: str) -> None:
        """Set a variable for all that follows."""
        self.context.print(f"$ export {name}={value}")
        self.environment[name] = value

    def do(self, command: str) -> None:
        """Print a command, run it in a shell, show what it says; the tour ends if it fails."""
        from ..words.errors import NacreError

        self.context.print(f"$ {command}")
        code = self._start(command).wait()
        if code:
            raise NacreError(f"the tour stopped: {command!r} exited with {code}")

    def leave_running(self, command: str, url: str) -> None:
        """Print and start a command that stays; go on when `url` answers."""
        self.context.print(f"$ {command} &")
        process = self._start(command, alone=True)
        self.background.append(process)
        _await(self.context.engine.client, url, process)

    def fetch(self, port: int) -> None:
        """Ask the web app for its page."""
        _await(self.context.engine.client, f"http://127.0.0.1:{port}", None)
        self.do(f'python3 -c "{_FETCH.format(port=port)}"')

    def write(self, name: str, content: str) -> None:
        """Write a file of the app and show it."""
        import os

        os.makedirs(f"{self.folder}/app", exist_ok=True)
        with open(f"{self.folder}/app/{name}", "w", encoding="utf-8") as file:
            file.write(content)
        self.context.print(f"\n$ cat {name}")
        self.context.print(content.rstrip())

    def close(self, keep: bool) -> None:
        """Stop what runs and remove what was made."""
        import os
        import signal

        for process in self.background:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        if keep:
            self.context.print(f"kept: {self.folder}")
        else:
            _remove(self.folder)

    def _start(self, command: str, *, alone: bool = False) -> Popen[bytes]:
        import os
        import subprocess
        import sys

        self.context.stdout.flush()
        own = os.path.dirname(os.path.abspath(sys.argv[0])) + ":" + os.path.dirname(sys.executable)
        environment = {
            **os.environ,
            **self.environment,
            "PATH": f"{own}:{os.environ.get('PATH', os.defpath)}",
        }
        folder = f"{self.folder}/app" if os.path.isdir(f"{self.folder}/app") else self.folder
        return subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}" if alone else command],
            env=environment, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=alone,
        )  # fmt: skip


def _tell(tour: Tour) -> None:
    tour.context.print("A tour of nacre. You can type every line after a $ yourself.")
    tour.export("NACRE_ROOT", f"{tour.folder}/store")
    _build(tour)
    _share(tour)
    _change(tour)
    _elsewhere(tour)
    tour.say("That was the tour. `nacre --help` lists the commands.")


def _build(tour: Tour) -> None:
    tour.say(
        "1. An app and its Dockerfile. The base is the Python of this machine, so nothing is downloaded."
    )
    tour.write("app.py", _APP)
    tour.write("Dockerfile", _DOCKERFILE)
    tour.context.print("")
    tour.do("nacre build -t hello:1 .")
    tour.say("2. Build again: nothing changed, so nothing runs.")
    tour.do("nacre build -t hello:1 .")
    tour.say("3. Run it: one thin writable layer over read-only layers.")
    tour.do("nacre run --rm hello:1 python3 -V")
    tour.do(f"nacre run -d --network host --name web -e PORT={tour.web} hello:1")
    tour.fetch(tour.web)
    tour.do("nacre ps")
    tour.do("nacre rm -f web")


def _share(tour: Tour) -> None:
    hub = f"127.0.0.1:{tour.hub}"
    tour.say("4. Serve a registry and push the image.")
    tour.leave_running(
        f"nacre registry serve --quiet --addr {hub} --root {tour.folder}/registry", f"http://{hub}/v2/"
    )
    tour.do(f"nacre tag hello:1 {hub}/hello:1")
    tour.do(f"nacre push {hub}/hello:1")


def _change(tour: Tour) -> None:
    hub = f"127.0.0.1:{tour.hub}"
    tour.say("5. Change one line, build and push again: one small layer moves.")
    tour.do("sed -i 's/hello from nacre/good morning from nacre/' app.py")
    tour.do(f"nacre build -t {hub}/hello:2 .")
    tour.do(f"nacre push {hub}/hello:2")


def _elsewhere(tour: Tour) -> None:
    hub = f"127.0.0.1:{tour.hub}"
    tour.say("6. Pull into an empty store. The second pull fetches only the difference.")
    tour.export("NACRE_ROOT", f"{tour.folder}/second")
    tour.do(f"nacre pull {hub}/hello:1")
    tour.do(f"nacre pull {hub}/hello:2")
    tour.say("7. Two containers share all read-only layers.")
    tour.do(f"nacre run -d --network host --name one --hostname one -e PORT={tour.web} {hub}/hello:1")
    tour.do(f"nacre run -d --network host --name two --hostname two -e PORT={tour.other} {hub}/hello:2")
    tour.fetch(tour.web)
    tour.fetch(tour.other)
    tour.do("nacre ps --size")
    tour.do("nacre system df -v")
    tour.do("nacre rm -f one two")


def _free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _await(client: Client, url: str, process: Popen[bytes] | None) -> None:
    import time

    from ..words.errors import NacreError

    deadline = time.monotonic() + 30
    while True:
        try:
            with client.download(url):
                return
        except NacreError:
            if time.monotonic() > deadline or (process is not None and process.poll() is not None):
                raise NacreError(f"the tour stopped: nothing answers at {url}") from None
            time.sleep(0.02)


def _remove(folder: str) -> None:
    from ..ground import userns
    from ..ground.files import remove_tree

    if userns.mapped():
        remove_tree(folder)
    else:
        userns.call(remove_tree, folder)


def _run(context: Context, args: Args) -> int:
    import tempfile

    folder = args.dir or tempfile.mkdtemp(prefix="nacre-demo-")
    tour = Tour(context, folder)
    try:
        _tell(tour)
    finally:
        tour.close(args.keep or bool(args.dir))
    return 0


COMMAND = Command(
    arguments="",
    run=_run,
    options=(
        text("--dir", "Work in this directory and keep it", type="path"),
        flag("--keep", "Keep the working directory of the tour"),
    ),
    store=False,
    details="Builds, runs, pushes, changes and pulls a small web app. Needs no network.",
)
