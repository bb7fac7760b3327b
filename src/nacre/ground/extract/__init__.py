"""Layers onto a file system: every path opened beneath the root by descriptor, never by a string.

What an entry means is decided by `grammars.layer.rules`; here it is carried out:

    parent      made if missing (`places` answers what is there)
    name        never followed; what is there already gives way, but folders merge; the last entry wins
    content     written through a descriptor opened with O_EXCL
    metadata    owner, then xattrs, then mode, then times: chown(2) clears set-id bits and security.capability

Folders are 0700 while they are filled and get their metadata at the end: children would change their times,
a default ACL would be inherited, and an ordinary user could not write into a folder of mode 0555.
"""

from .extraction import apply, extract
from .form import Form, MetadataRecorder, Stats

__all__ = ["Form", "MetadataRecorder", "Stats", "apply", "extract"]
