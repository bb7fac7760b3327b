"""What a selection of files is, as one digest: names, kinds, modes, owners, links and contents; no times."""

from __future__ import annotations

from ...words.digest import sha256
from .filehash import are_stable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .filehash import FileHashes
    from .items import CopyItem, CopySource
    from .select import Selection

    Keep = Callable[[str, list[bytes]], object]


def content_of(source: CopySource, chosen: Sequence[Selection], keep: Keep) -> str:
    """The digest, as hexadecimal digits; `keep` is told what it is of."""
    pieces = _pieces(chosen, source.digest)
    content = sha256(b"".join(pieces)).hexdigest()
    keep(content, pieces)
    return content


def content_by(
    stamps: bytes, source: CopySource, chosen: Sequence[Selection], hashes: FileHashes, keep: Keep
) -> str:
    """The same of files with the fingerprint `stamps`; if that is known, they are not even asked for."""
    known = hashes.selection(stamps)
    if not known:
        known = bytes.fromhex(content_of(source, chosen, keep))
        if are_stable([item for one in chosen for _, item in one.files]):
            hashes.keep_selection(stamps, known)
    return known.hex()


def fingerprint(chosen: Sequence[Selection]) -> bytes:
    """A digest of the stamps of files: as long as it is the same, so is their content."""
    return sha256(b"".join(_pieces(chosen, _stamp))).digest()


def unread(stamps: bytes, chosen: Sequence[Selection], hashes: FileHashes) -> int:
    """How many bytes have to be read for the digest of files with the fingerprint `stamps`."""
    if hashes.selection(stamps):
        return 0
    files = [item for one in chosen for _, item in one.files if item.kind == "file"]
    return sum(item.size for item in files if not hashes.digest(item, None))


def _stamp(item: CopyItem) -> bytes:
    return b"%d %d %d %d" % item.stamp if len(item.stamp) == 4 else b""


def _pieces(chosen: Sequence[Selection], content: Callable[[CopyItem], bytes]) -> list[bytes]:
    """What a digest is of; `lists` reads them."""
    pieces: list[bytes] = []
    names: dict[tuple[int, ...], bytes] = {}
    for number, one in enumerate(chosen):
        pieces.append(b"%d %d %b\0" % (one.is_folder, one.kept, one.name))
        for path, item in one.files:
            pieces.append(_line(path, item))
            if item.kind == "file":
                label = b"%d:%b" % (number, path)
                first = names.setdefault((number, *item.identity), label) if item.identity else label
                pieces.append(content(item) if first == label else b"=" + first)
                pieces.append(b"\0")
    return pieces


def _line(path: bytes, item: CopyItem) -> bytes:
    """Every field that a layer would show, none of them ambiguous: only `path` and `link` are free text."""
    line = b"%b\0%b %d %d:%d %d %d:%d %b\0" % (
        path, item.kind.encode(), item.mode, item.uid, item.gid, item.size, item.major, item.minor, item.link,
    )  # fmt: skip
    for key, value in item.xattrs:
        line += b"%d %b=%d %b\0" % (len(key), key, len(value), value)
    return line
