"""The network of one container that is another program's work: pasta or slirp4netns.

    this ─┬─ the container
          └─ process 1 of a pid namespace, which dies with this one: one page that waits
               └─ the program: reads what the container sends from a tap device, and sends it on

The kernel kills everything in a pid namespace with its first process, and that one with its parent. So the
program ends in any case, whatever it has made of its identity, its parent and its signals. It gets the
network namespace as a file, in a mount namespace of its own: it may not be permitted to look at us in /proc.
Source: pid_namespaces(7), PR_SET_PDEATHSIG(2const), pasta(1), slirp4netns(1).
"""

from __future__ import annotations

import _socket
import os
import select

from ...words.errors import SandboxError, Unsupported
from ...words.lines import lines
from ...words.quickjson import dumps, loads
from ...words.value import Value
from .. import linux, mounts
from ..fork import fork_through, program
from ..monitor import idle
from . import links, namespaces
from .attachments import NetworkAttachments
from .netlink import ROUTE, Netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, Self

    from ..fork import ChildReport
else:
    import _signal as signal

NAMESPACE, API = "netns", "slirp.sock"
"""In the folder of the container: where the program finds the namespace, and how it is told ports."""
TUN = "/dev/net/tun"
FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/usr/libexec/podman")
_SECONDS, _LONGEST = 30, 1 << 16
_NOISE = ("failed to send", "no external routable", "don't run as root")
"""How lines begin that do not say why it did not start."""


def find(name: str, package: str) -> str:
    """The path of a program. Raises Unsupported."""
    for folder in FOLDERS:
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise Unsupported(
        f"--network {name} needs the program {name}, which is not installed",
        hint=f"install the package {package}; --network bridge needs no other program",
    )


class Launch(Value):
    """How a program is started: `words`, and what it is asked for then. `stays`: it tells when it is ready.

    One that does not stay goes to the background when it is ready.
    """

    words: tuple[str, ...]
    requests: tuple[dict[str, Any], ...] = ()
    stays: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return os.path.basename(self.words[0])


class ExternalNetwork(NetworkAttachments):
    """A namespace, and from `start` on the program that is its way out. Raises SandboxError."""

    def __init__(self) -> None:
        self.attached, self._process = [], -1
        self.namespace = namespaces.new()
        try:
            namespaces.inside(self.namespace, _loopback_up)
        except OSError as error:
            self.close()
            raise SandboxError(f"cannot set up the network of the container: {error.strerror}") from None

    @classmethod
    def adopt(cls, namespace: int, process: int) -> Self:
        """What another program of this process `held`."""
        self = cls.__new__(cls)
        self.attached, self.namespace, self._process = [], namespace, process
        return self

    @property
    def held(self) -> tuple[int, int]:
        """The descriptors that the network lives by."""
        return self.namespace, self._process

    @property
    def path(self) -> str:
        """The namespace, for whoever shall join it."""
        return f"/proc/{os.getpid()}/fd/{self.namespace}"

    def start(self, folder: str, launch: Launch) -> None:
        """Returns when everything is set up. Raises SandboxError."""
        check_device(launch.name)

        def work(report: ChildReport) -> None:
            _tend(report, self.namespace, folder, launch)

        child = fork_through(
            lambda: linux.unshare(linux.CLONE_NEWPID), work, what=launch.name, keep=(self.namespace,)
        )
        with child:
            child.answer()
            self._process = child.pidfd()

    def addresses(self) -> tuple[str, str]:
        """Those with which the container sends to the outside, "" for none."""
        return namespaces.inside(self.namespace, _own_addresses)

    def close(self) -> None:
        """Nothing is left of it. Idempotent."""
        process, self._process = self._process, -1
        if process >= 0:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            os.waitid(os.P_PIDFD, process, os.WEXITED)
            os.close(process)
        namespace, self.namespace = self.namespace, -1
        if namespace >= 0:
            os.close(namespace)


def check_device(name: str) -> None:
    """Raises SandboxError where this process cannot have a tap device."""
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise SandboxError(
            f"{name} needs {TUN}, which cannot be opened: {(error.strerror or '').lower()}",
            hint=f"--network bridge does without; or, as root: chmod 0666 {TUN}",
        ) from None


def _loopback_up() -> None:
    with Netlink(ROUTE) as netlink:
        netlink.send([links.up(1)])


def _own_addresses() -> tuple[str, str]:
    return namespaces.own_address(_socket.AF_INET), namespaces.own_address(_socket.AF_INET6)


def _tend(report: ChildReport, namespace: int, folder: str, launch: Launch) -> None:
    """The first process of the pid namespace: start the program, tell, and wait for ever."""
    linux.die_with_parent(signal.SIGKILL)
    os.chdir(folder)
    os.close(os.open(NAMESPACE, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
    mounts.leave()
    os.chdir(folder)
    linux.mount(f"/proc/self/fd/{namespace}", NAMESPACE, "", linux.MS_BIND)
    os.close(namespace)
    _start(launch)
    for request in launch.requests:
        _ask(launch, request)
    report.tell()
    report.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        idle.wait([launch.name], (), ())
    except (OSError, LookupError):
        while True:
            signal.pause()


def _start(launch: Launch) -> None:
    said = os.memfd_create(launch.name)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = program([*launch.words], (-1, said, said, *([writer] if launch.stays else [])))
    os.close(writer)
    end = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (end, *([reader] if launch.stays else [])):
        poll.register(fd, select.POLLIN)
    ready = [fd for fd, _ in poll.poll(1000 * _SECONDS)]
    failed = not (launch.stays and os.read(reader, 1)) if ready else True
    if not launch.stays and ready:
        failed = os.waitpid(pid, 0)[1] != 0
    if failed:
        why = _reason(said).removeprefix(f"{launch.words[0]}: ")
        raise SandboxError(f"{launch.name} did not start: {why}")
    for fd in (said, reader, end):
        os.close(fd)


def _reason(said: int) -> str:
    """The first line that says something."""
    text = os.pread(said, _LONGEST, 0).decode(errors="replace")
    found = [line.strip() for line in lines(text)]
    reasons = [line for line in found if line and not line.lower().startswith(_NOISE)]
    return "".join(letter for letter in next(iter(reasons), "it did not say why") if letter.isprintable())


def _ask(launch: Launch, request: dict[str, Any]) -> None:
    """By the socket in this folder. Raises SandboxError."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.settimeout(_SECONDS)
        socket.connect(API)
        socket.sendall(dumps(request).encode())
        socket.shutdown(_socket.SHUT_WR)
        answer = loads(socket.recv(_LONGEST))
    except (OSError, ValueError) as error:
        raise SandboxError(f"{launch.name} does not answer: {error}") from None
    finally:
        socket.close()
    if "error" in answer:
        why = answer["error"].get("desc", "")
        port = request["arguments"]["host_port"]
        raise SandboxError(f"{launch.name} cannot publish port {port}: {why}")
