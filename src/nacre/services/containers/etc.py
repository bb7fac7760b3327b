"""The three files that every container gets of its own: /etc/resolv.conf, /etc/hosts, /etc/hostname."""

from __future__ import annotations

import os

from ...ground.files import os_errors, write_all
from ...images.model.runtime import VolumeMount, host_line
from ...words.lines import lines
from ...words.value import Value

_MAX = 1 << 20
_LOCAL = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


_FILES = ("resolv.conf", "hosts", "hostname")


def volumes(folder: str, readonly: bool = False) -> tuple[VolumeMount, ...]:
    """Where the files are and where they go; what is read-only with the root, as in docker."""
    return tuple(VolumeMount(f"{folder}/{name}", f"/etc/{name}", readonly, "copy") for name in _FILES)


class ResolvConf(Value):
    """What `/etc/resolv.conf` shall say instead of what the host's says; () leaves that."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


_HOST = ResolvConf()


class HostsFile(Value):
    """What `/etc/hosts` shall say. `shared`: the network is the host's, and so is the beginning of the file.

    `hosts` are `name:address` as for --add-host, `addresses` what the host name means where the network is
    not shared, `gateway` is this machine as a container reaches it, `domain` that of --domainname.
    """

    shared: bool
    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ("127.0.0.1",)
    gateway: str = "127.0.0.1"
    domain: str = ""


def write(folder: str, hostname: str, hosts: HostsFile, resolver: ResolvConf = _HOST) -> None:
    """Write the files into `folder`. Raises UsageError, StoreError."""
    texts = _resolv(resolver), _hosts(hostname, hosts), f"{hostname}\n"
    for name, text in zip(_FILES, texts, strict=True):
        _write(f"{folder}/{name}", text)


def _hosts(hostname: str, wanted: HostsFile) -> str:
    known = _with_newline((_read("/etc/hosts") if wanted.shared else "") or _LOCAL)
    known += "".join(host_line(item, wanted.gateway) for item in wanted.hosts)
    if not wanted.shared and hostname:
        named = _names(hostname, wanted.domain)
        known += "".join(f"{address}\t{named}\n" for address in wanted.addresses)
    return known


def _names(hostname: str, domain: str) -> str:
    """The name with its domain and the name alone, as docker has them; either option may bring the domain."""
    whole = f"{hostname}.{domain}" if domain else hostname
    first, dot, _ = whole.partition(".")
    return f"{whole} {first}" if dot else whole


def _resolv(wanted: ResolvConf) -> str:
    """Docker's: what is given replaces the lines of its kind; `search .` is no search at all."""
    if wanted == _HOST:
        return _read("/etc/resolv.conf")
    servers = [f"nameserver {server}" for server in wanted.servers] or _named("nameserver")
    search = [f"search {' '.join(wanted.search)}"] if wanted.search else _named("search", "domain")
    options = [f"options {' '.join(wanted.options)}"] if wanted.options else _named("options")
    search = [] if wanted.search == (".",) else search
    return "".join(f"{line}\n" for line in (*search, *servers, *options))


def _named(*names: str) -> list[str]:
    """Lines of the host's file."""
    found = lines(_read("/etc/resolv.conf"))
    return [line for line in found if line.split()[:1] and line.split()[0] in names]


def name_servers() -> list[str]:
    """Those that `/etc/resolv.conf` of this machine names; what is no address is left out."""
    from ...words.addresses import packed, shown

    found = []
    for line in _named("nameserver"):
        try:
            found.append(shown(packed("".join(line.split()[1:2]))))
        except ValueError:
            continue
    return found


def _with_newline(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _read(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _MAX).decode(errors="replace")
    finally:
        os.close(fd)


def _write(path: str, text: str) -> None:
    """Readable by every user of the container, whatever the umask is.

    A file that is emptied first ext4 writes to the disk at once, and has to free there when it goes.
    """
    data = text.encode("utf-8", "surrogateescape")
    with os_errors(f"write {path}"):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(fd, 0o644)
            write_all(fd, data)
            os.ftruncate(fd, len(data))
        finally:
            os.close(fd)
