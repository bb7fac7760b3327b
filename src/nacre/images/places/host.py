"""`host:python3`: an image made from the Python that is running, so that a tour needs no network.

It holds the interpreter, its standard library, `/bin/sh` and some basic tools, and the shared libraries
of all these. It is the same, to the bit, as long as these files of the machine are the same: times are
those of the interpreter, owners are root, modes are 0755 or 0644. An interpreter that lives elsewhere
than in /usr (pyenv, uv) moves to /usr/local, where it finds its library by itself; libraries from
unusual folders move to the folder of the C library, where the loader looks without being told.
"""

from __future__ import annotations

import os
import sys
from stat import S_ISREG

from ...ground.work.pipe import Pipe, PipeBuffer
from ...ground.work.threads import Worker, running
from ...words.digest import Digest, sha256
from ...words.errors import NotFound, StoreError, Unsupported
from ...words.oci import Descriptor, ImageConfig, Platform
from ...words.reference import Reference
from ...words.value import Value
from ..layers.compressed import CompressedForms, is_here
from ..layers.ingest import add_layer
from ..model.edit import append_layer, new_config, with_run, write_image
from ..model.image import Image
from .hostkey import HostKey
from .hostlibs import Libraries, default_folders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...grammars.tar.entry import Reader
    from ...stores.store import Store

DEFAULT_NAME = "host:python3"
_FORM = "host 2"
"""Counts changes of what goes into the image, so that an old one is not taken for a new one."""

_BIN = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/run/current-system/sw/bin")
_TOOLS = (
    "sh", "awk", "basename", "cat", "chmod", "chown", "cmp", "comm", "cp", "cut", "date", "dd", "df", "diff",
    "dirname", "du", "echo", "env", "expr", "false", "find", "grep", "gzip", "head", "hostname", "id",
    "install", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mktemp", "mv", "nproc", "od", "paste",
    "printenv", "printf", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "seq", "sha256sum",
    "sleep", "sort", "stat", "tail", "tar", "tee", "test", "[", "touch", "tr", "true", "uname", "uniq", "wc",
    "which", "whoami", "xargs", "yes",
)  # fmt: skip
_LIBRARIES_ASKED_AT_RUN_TIME = (
    "libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2",
    "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libm.so.6", "libstdc++.so.6",
    "libz.so.1",  # of wheels for any Linux
)  # fmt: skip
_MERGED = ("/bin", "/sbin", "/lib", "/lib64", "/usr/sbin", "/usr/lib64")
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
_ALSO = (*_CERTIFICATES, "/etc/alternatives", "/etc/ld.so.cache")
"""What decides besides: where links of tools lead, and where the loader finds libraries."""
_CERTIFICATES_IN_IMAGE = "/etc/ssl/certs/ca-certificates.crt"
_SKIPPED_FOLDERS = {
    "__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages",
    "dist-packages", "lib2to3", "pydoc_data",
}  # fmt: skip
_SKIPPED_STEMS = ("_test", "_tkinter", "_xxtestfuzz", "_ctypes_test", "xxlimited", "xxsubtype", "turtle.")
_SKIPPED_ENDS = (".pyc", ".pyo", ".a", ".exe", ".o")
_TEXTS = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_FOLDERS = {
    "/dev": 0o755, "/etc": 0o755, "/home": 0o755, "/proc": 0o755, "/root": 0o700, "/run": 0o755,
    "/sys": 0o755, "/tmp": 0o1777, "/usr/local/bin": 0o755, "/var/tmp": 0o1777,
}  # fmt: skip


def host_image(store: Store, name: str = DEFAULT_NAME) -> Image:
    """The image `name` of this machine: built when its files have changed, else the one in the store.

    Sets the name in the store. Raises NotFound for a name other than host:python3, Unsupported when the
    running interpreter has no library on disk.
    """
    if name != DEFAULT_NAME:
        raise NotFound(f"no image {name!r}", hint=f"the only one is {DEFAULT_NAME}")
    python, reference = Python.running(), Reference.parse(name)
    stamps = HostKey(store, (_FORM, python._astuple()))
    with store.leases.hold():
        descriptor = _kept(store, stamps.key()) or _looked_at(store, python, stamps)
        if store.refs.get(str(reference)) != descriptor:
            store.refs.set(str(reference), descriptor)
        return Image.load(store, descriptor)


def _looked_at(store: Store, python: Python, stamps: HostKey) -> Descriptor:
    """The image after a look at every file; what was looked at is remembered."""
    layout = HostRoot(python)
    key = layout.key()
    found = _kept(store, key) or _build(store, layout, key)
    stamps.keep(key, layout.paths)
    return found


def _kept(store: Store, key: str) -> Descriptor | None:
    """The image built earlier under `key`, if all of it is still here."""
    record = store.steps.get(key) if key else None
    if record is None or record.layer is None or record.diff_id is None:
        return None
    if not (store.trees.has(record.diff_id) and is_here(store, record.layer)):
        return None
    store.steps.touch(key)
    return write_image(store, ImageConfig.parse(record.config_json.encode()), [record.layer])


def _build(store: Store, layout: HostRoot, key: str) -> Descriptor:
    from ...stores.steps import StepRecord

    pipe = Pipe()
    with running([Worker(lambda: layout.write(pipe), feeds=pipe)], [pipe]):
        layer, diff_id = add_layer(store, pipe)
    config = layout.config(diff_id)
    store.steps.put(StepRecord(key, "", layer, diff_id, config.encode().decode()))
    return write_image(store, config, [layer])


class HostSource:
    """The same as a `Source`: builds into `store` and gives from there, so that a pull moves nothing."""

    def __init__(self, store: Store, name: str = DEFAULT_NAME) -> None:
        self.store, self.name = store, name

    @property
    def where(self) -> str:
        """The name of the image, `host:python3`."""
        return self.name

    def resolve(self, reference: Reference) -> tuple[Descriptor, bytes]:
        """Build the image if need be. Raises NotFound for a name other than host:python3."""
        descriptor = host_image(self.store, self.name).descriptor
        return descriptor, self.store.blobs.read(descriptor.digest)

    def fetch(self, descriptor: Descriptor, offset: int = 0) -> AbstractContextManager[Reader]:
        """Content out of the store."""
        content = CompressedForms(self.store).open(descriptor)
        content.seek(offset)
        return content


class Python(Value):
    """An interpreter on disk: the program, the folder it was installed under, its library."""

    program: str
    prefix: str
    library: str
    version: str

    @classmethod
    def running(cls) -> Python:
        """The one that runs this; inside a virtual environment the one that it was made from."""
        program = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
        library = os.path.dirname(os.path.realpath(os.__file__))
        prefix = os.path.realpath(sys.base_prefix)
        if not os.path.isfile(program) or not library.startswith(prefix.rstrip("/") + "/"):
            raise Unsupported("this Python has no standard library on disk, so no image can be made of it")
        return cls(program, prefix, library, f"{sys.version_info[0]}.{sys.version_info[1]}")

    @property
    def home(self) -> str:
        """The folder in the image that `prefix` becomes."""
        return self.prefix if self.prefix in ("/usr", "/usr/local") else "/usr/local"


class HostFile(Value):
    """A member of the image: a file of the host (`source`), a text, a link or a folder."""

    kind: str
    mode: int = 0o644
    source: str = ""
    link: str = ""
    data: bytes = b""
    size: int = 0
    mtime_ns: int = 0


class HostRoot:
    """What goes where. Made by looking at names and headers only; `write` reads the content."""

    def __init__(self, python: Python) -> None:
        self.python = python
        self.items: dict[str, HostFile] = {}
        self.libraries = Libraries()
        self._inodes: dict[tuple[int, int], set[str]] = {}
        self._merged()
        self._interpreter()
        self._tools()
        self._shared()
        self._fixed()
        self._links()
        self._parents()

    def _merged(self) -> None:
        """The links that make /bin and /usr/bin one, where the host has them."""
        for path in _MERGED:
            if os.path.islink(path):
                self.items[path] = HostFile("symlink", 0o777, link=os.readlink(path))

    def _file(self, source: str, path: str) -> bool:
        """Put a file of the host at `path`, links followed; False if it cannot be read."""
        try:
            found = os.stat(source)
        except OSError:
            return False
        if not S_ISREG(found.st_mode) or not os.access(source, os.R_OK):
            return False
        self._inodes.setdefault((found.st_dev, found.st_ino), set()).add(path)
        mode = 0o755 if found.st_mode & 0o111 else 0o644
        self.items[path] = HostFile(
            "file", mode, os.path.realpath(source), size=found.st_size, mtime_ns=found.st_mtime_ns
        )
        return True

    def _interpreter(self) -> None:
        python, name = self.python, f"python{self.python.version}"
        program = f"{python.home}/bin/{name}"
        self._file(python.program, program)
        self.libraries.add(python.program)
        for link in ("python3", "python"):
            self.items[f"{python.home}/bin/{link}"] = HostFile("symlink", 0o777, link=name)
        if python.home != "/usr":
            self.items["/usr/bin/python3"] = HostFile("symlink", 0o777, link=f"{python.home}/bin/{name}")
        self._library(python.library, python.home + python.library[len(python.prefix.rstrip("/")) :])

    def _library(self, folder: str, path: str) -> None:
        self.libraries.folders.add(folder)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("config-"):
                        self._library(entry.path, f"{path}/{entry.name}")
                elif not entry.name.startswith(_SKIPPED_STEMS) and not entry.name.endswith(_SKIPPED_ENDS):
                    self._module(entry.path, f"{path}/{entry.name}")

    def _module(self, source: str, path: str) -> None:
        """A module; an extension only if all the libraries it needs are on this machine."""
        if not source.endswith(".so") or self.libraries.add(source):
            self._file(source, path)

    def _tools(self) -> None:
        for tool in _TOOLS:
            source = next((f"{folder}/{tool}" for folder in _BIN if os.path.exists(f"{folder}/{tool}")), "")
            if source and self.libraries.add(source):
                self._tool(source, tool)
        if "/bin/sh" not in self.items and _canonical("/bin/sh") not in self.items:
            raise Unsupported("this machine has no /bin/sh, which an image needs for RUN")

    def _tool(self, source: str, tool: str) -> None:
        """A program under its own name; one that goes by many names (busybox, dash as sh) is linked to."""
        real, path = os.path.realpath(source), _canonical(source)
        if path.startswith("/run/"):
            path = f"/usr/bin/{tool}"
        if os.path.basename(real) == tool:
            self._file(real, path)
            return
        if real in self.items or self._file(real, real):
            self.items[path] = HostFile("symlink", 0o777, link=real)

    def _shared(self) -> None:
        """Loaders at the path that programs name; libraries where they are found without being told."""
        for interp in sorted(self.libraries.interps):
            self._file(interp, _canonical(interp))
        home = self._c_library()
        for name in _LIBRARIES_ASKED_AT_RUN_TIME:
            path = f"{home}/{name}"
            if name not in self.libraries.found and os.path.exists(path) and self.libraries.add(path):
                self.libraries.found[name] = path
        for name, source in sorted(self.libraries.found.items()):
            self._file(source, source if "/" in name else f"{home}/{os.path.basename(name)}")

    def _c_library(self) -> str:
        """The folder that the loader searches last, without a cache or a variable: that of the C library."""
        names = [name for name in self.libraries.found if name.startswith("libc.")]
        folders = [_canonical(self.libraries.found[name]) for name in names]
        return os.path.dirname((folders or [f"{default_folders()[-2]}/x"])[0])

    def _fixed(self) -> None:
        for path, text in _TEXTS.items():
            self.items[path] = HostFile("file", data=text.encode(), size=len(text))
        for path in _CERTIFICATES:
            if os.path.isfile(path) and self._file(path, _CERTIFICATES_IN_IMAGE):
                break
        for path, mode in _FOLDERS.items():
            self.items[path] = HostFile("dir", mode)

    def _links(self) -> None:
        """One file under several names is written once; the first name in the tar has the content."""
        for paths in self._inodes.values():
            first, *others = sorted(paths, key=os.fsencode)
            for path in others:
                self.items[path] = HostFile("hardlink", self.items[first].mode, link=first)

    def _parents(self) -> None:
        for path in list(self.items):
            while (path := os.path.dirname(path)) != "/":
                self.items.setdefault(path, HostFile("dir", 0o755))

    @property
    def time(self) -> int:
        """Seconds since 1970 that everything in the image has: when the interpreter was installed."""
        return int(os.stat(self.python.program).st_mtime)

    @property
    def paths(self) -> set[str]:
        """Files and folders on which it depends what goes in, those looked for in vain among them."""
        found = {item.source for item in self.items.values() if item.source}
        found |= {os.path.dirname(path) for path in found} | {self.python.library, *_BIN, *_ALSO}
        return found | self.libraries.folders | set(_MERGED)

    def key(self) -> str:
        """64 hexadecimal digits that change when a file that goes in has changed."""
        rows = [(path, self.items[path]._astuple()) for path in sorted(self.items)]
        return sha256(repr((_FORM, self.time, rows)).encode("utf-8", "surrogateescape")).hexdigest()

    def write(self, pipe: Pipe) -> None:
        """The layer as a tar. Raises StoreError when a file of the host cannot be read."""
        from ...grammars.tar.write import TarWriter

        buffer = PipeBuffer(pipe)
        tar = TarWriter(buffer.write)
        for path in sorted(self.items, key=os.fsencode):
            self._write_item(tar, path, self.items[path])
        tar.close()
        buffer.flush()

    def _write_item(self, tar: object, path: str, item: HostFile) -> None:
        from ...grammars.tar.entry import Entry
        from ...grammars.tar.write import TarWriter

        assert isinstance(tar, TarWriter)
        link = os.fsencode(item.link.lstrip("/") if item.kind == "hardlink" else item.link)
        entry = Entry(
            os.fsencode(path.lstrip("/")), item.kind, item.mode, mtime_ns=self.time * 10**9,
            size=item.size, link=link,
        )  # fmt: skip
        if item.source:
            try:
                with open(item.source, "rb", buffering=0) as file:
                    tar.add(entry, file)
            except OSError as error:
                raise StoreError(f"cannot read {item.source}: {error.strerror}") from None
        else:
            tar.add(entry, _Bytes(item.data) if item.kind == "file" else None)

    def config(self, diff_id: Digest) -> ImageConfig:
        """The config of the image, a document."""
        from time import gmtime, strftime

        created = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(self.time))
        env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        # Compiled files would differ from run to run and make layers differ that need not.
        env += ["PYTHONDONTWRITEBYTECODE=1"]
        if _CERTIFICATES_IN_IMAGE in self.items:
            env.append(f"SSL_CERT_FILE={_CERTIFICATES_IN_IMAGE}")
        config = with_run(new_config(Platform.host()), Env=env, Cmd=["python3"])
        return append_layer(config, diff_id, DEFAULT_NAME, created=created, comment="created by nacre")


def _canonical(path: str) -> str:
    """`path` with the links among its folders followed, the last name kept."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


class _Bytes:
    """Bytes as a reader."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data
