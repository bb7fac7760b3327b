"""The layer beneath all wheels: an empty virtual environment and an account that is not root."""

from __future__ import annotations

import json
from io import BytesIO

from ....stores.steps import StepRecord
from ....words.value import Value
from ..keys import Key, layers_id
from .layout import UID, USER, VENV, packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....images.model.image import Image
    from ....stores.store import Store
    from ....words.digest import Digest
    from ....words.oci import Descriptor
    from .interpreter import Interpreter
    from .layerwriter import LayerWriter

_MAX_FILE = 1 << 20


class EnvironmentKey(Key):
    """The layer by the interpreter, the account files of the base ("" if none is made) and the folder."""

    python: str
    version: str
    passwd: str
    group: str
    workdir: str


class AccountsKey(Key):
    """The account files of a base: `parent` are its layers."""


class VirtualEnvironment(Value):
    """What is to be written."""

    key: EnvironmentKey

    def write(self, store: Store) -> tuple[Descriptor, Digest]:
        """Store the layer; its descriptor and diff id."""
        from ....images.layers.ingest import add_layer
        from .layerwriter import LayerWriter

        out = BytesIO()
        writer = LayerWriter(out.write, "")
        key = self.key
        if key.passwd:
            _file(writer, "/etc/group", f"{key.group}{USER}:x:{UID}:\n")
            _file(writer, "/etc/passwd", f"{key.passwd}{USER}:x:{UID}:{UID}::/home/{USER}:/sbin/nologin\n")
            writer.folder(f"/home/{USER}", owner=UID)
        writer.folder(key.workdir.rstrip("/"))
        self._environment(writer)
        writer.close()
        out.seek(0)
        return add_layer(store, out)

    def _environment(self, writer: LayerWriter) -> None:
        path, version = self.key.python, self.key.version
        short = ".".join(version.split(".")[:2])
        home = path.rpartition("/")[0]
        text = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
        _file(writer, f"{VENV}/pyvenv.cfg", text)
        writer.link(f"{VENV}/bin/python", path)
        for name in ("python3", f"python{short}"):
            writer.link(f"{VENV}/bin/{name}", "python")
        writer.folder(packages(short))


def environment_of(
    image: Image, interpreter: Interpreter, workdir: str, *, account: bool
) -> VirtualEnvironment:
    """The environment for an interpreter; `account`: with a user of its own, unless the base has that one."""
    passwd = group = ""
    if account:
        passwd, group = _accounts(image)
        if any(line.startswith(f"{USER}:") for line in passwd.split("\n")):
            passwd = group = ""
        else:
            passwd = passwd or "root:x:0:0:root:/root:/bin/sh\n"
    version = interpreter.target.version
    return VirtualEnvironment(EnvironmentKey("", "", None, interpreter.path, version, passwd, group, workdir))


def _accounts(image: Image) -> tuple[str, str]:
    """The texts of passwd and group, looked for once."""
    key = AccountsKey(layers_id(image.diff_ids), str(image.config.platform), None)
    record = image.store.steps.get(key.digest)
    if record is not None:
        passwd, group = json.loads(record.config_json)["accounts"]
        return str(passwd), str(group)
    from ..layers import Layers

    with Layers(image.store, image.diff_ids, "the base") as files:
        passwd, group = (_lines(files.read(path, _MAX_FILE)) for path in (b"etc/passwd", b"etc/group"))
    text = json.dumps({"accounts": (passwd, group)})
    image.store.steps.put(StepRecord(key.digest, key.parent, None, None, text, key.inputs))
    return passwd, group


def _lines(data: bytes) -> str:
    text = data.decode("utf-8", "surrogateescape")
    return text if not text or text.endswith("\n") else f"{text}\n"


def _file(writer: LayerWriter, path: str, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    writer.file(path, len(data), BytesIO(data))
