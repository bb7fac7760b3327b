"""What went wrong with an entry, as a sentence."""

from __future__ import annotations

import errno
import os

from ...grammars.layer.paths import ABSENT, LONG, LOOP, NO_FOLDER
from ...grammars.tar.entry import show
from ...words.errors import InvalidArchive, NacreError, StoreError
from .. import ids

_SENTENCES = {
    errno.ENOENT: ABSENT,
    errno.ENOTDIR: NO_FOLDER,
    errno.EISDIR: "would replace a directory that is in use",
    errno.ELOOP: LOOP,
    errno.ENAMETOOLONG: LONG,
    errno.EXDEV: "leads outside the root",
    errno.EFBIG: "is larger than the file system allows",
    errno.EMLINK: "has more links than the file system allows",
    errno.EINVAL: "is rejected by the file system",
    errno.EILSEQ: "has a name that the file system rejects",
}


def explained(path: bytes, error: OSError) -> NacreError:
    """The archive's fault or the machine's, as a sentence."""
    if isinstance(error, ids.NoSuchId):
        return StoreError(f"cannot extract {show(path)}: {error.strerror}", hint=error.hint)
    sentence = _SENTENCES.get(error.errno or 0)
    if sentence:
        return InvalidArchive(f"archive entry {show(path)} {sentence}")
    hint = ""
    if error.errno == errno.EPERM:
        hint = "owners and device nodes need root or a user namespace"
    return StoreError(f"cannot extract {show(path)}: {reason(error)}", hint=hint)


def reason(error: OSError) -> str:
    """What the machine says, for the end of a sentence."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
