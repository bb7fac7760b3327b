"""`import`: a root file system as one tar becomes an image of one layer."""

from __future__ import annotations

from ...words.errors import InvalidArchive
from ...words.oci import Platform
from ...words.value import Value
from ..layers.ingest import add_layer
from ..model.edit import append_layer, apply_change, new_config, with_fields, write_image
from ..model.image import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.tar.entry import Reader
    from ...stores.store import Store
    from ...words.reference import Reference


class Meta(Value):
    """What the config of an imported image says beside its layer.

    `changes` are instructions of a Dockerfile (`edit.apply_change`). `created` is an RFC 3339 time, "" for
    now; `origin` says in the history where the tar came from. `platform` None: this machine's.
    """

    changes: tuple[str, ...] = ()
    message: str = ""
    platform: Platform | None = None
    created: str = ""
    origin: str = "-"


def import_tar(
    store: Store, stream: Reader, reference: Reference | None = None, meta: Meta | None = None
) -> Image:
    """Make an image of the tar in `stream` (plain, gzip, zstd, xz or bzip2), which is read once.

    Changes are checked before anything is read. The name is set last. Raises UsageError, InvalidArchive,
    StoreError; then nothing is named.
    """
    from ...grammars.codecs.stream import decompress

    meta = meta or Meta()
    created, message = meta.created or now(), meta.message
    config = new_config(meta.platform or Platform.host(), created=created)
    for change in meta.changes:
        config = apply_change(config, change)
    with store.leases.hold():
        layer, diff_id = add_layer(store, _Nonempty(decompress(stream)))
        comment = message or f"Imported from {meta.origin}"
        config = append_layer(config, diff_id, "", created=created, comment=comment)
        if message:
            config = with_fields(config, comment=message)
        descriptor = write_image(store, config, [layer])
        if reference is not None:
            store.refs.set(str(reference), descriptor)
        return Image.load(store, descriptor)


class _Nonempty:
    """A reader that refuses to end before it has begun: the program that should have written has failed."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._begun = stream, False

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size if size >= 0 else 1 << 20)
        if not data and not self._begun:
            raise InvalidArchive("cannot import: the input is empty")
        self._begun = True
        return data


def now() -> str:
    """This second as an RFC 3339 time in UTC."""
    from time import gmtime, strftime

    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
