"""What a check finds, as data; the sentences for people are made of it here and nowhere else."""

from __future__ import annotations

from enum import Enum, unique

from ...words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...words.digest import Digest


@unique
class Fault(Enum):
    """What can be wrong in a store: with which kind of thing, and the sentence that says it."""

    BLOB_LOST = "blob", "its file is missing"
    BLOB_DAMAGED = "blob", "{detail}"
    BLOB_UNREADABLE = "blob", "it cannot be read: {detail}"
    BLOB_UNRECORDED = "blob", "a file without a record"
    TREE_LOST = "tree", "its directory is missing"
    TREE_DAMAGED = "tree", "{detail}"
    TREE_UNRECORDED = "tree", "a directory without a record"
    IMAGE_MANIFEST_LOST = "image", "its manifest cannot be read: {detail}"
    IMAGE_CONFIG_LOST = "image", "its config cannot be read: {detail}"
    IMAGE_LAYER_LOST = "image", "layer {digest} is missing"
    CONTAINER_IMAGE_LOST = "container", "its image {digest} is missing"
    CONTAINER_LAYER_LOST = "container", "layer {digest} is missing"
    CONTAINER_FILES_LOST = "container", "its files are missing"
    CONTAINER_UNRECORDED = "container", "files of a container or build that no longer exists"
    STEP_LAYER_LOST = "step", "its layer is missing, so it is built again when needed"
    LEASE_UNRECORDED = "lease", "of a process that never started"
    DATABASE_DAMAGED = "database", "{detail}"

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind, self.sentence = kind, sentence


@unique
class Remedy(Enum):
    """What a repair can do about a fault, and the words that say it."""

    INDEXED = "indexed again"
    UNPACKED = "unpacked again"
    FETCHED = "fetched again from {detail}"
    DROPPED = "deleted, because its tree can reproduce it"
    REBUILT = "rebuilt with {detail}"


class Mended(Value):
    """What was done about a finding; `detail` is the repository, or what a new database holds."""

    by: Remedy
    detail: str = ""

    def __str__(self) -> str:
        return self.by.value.format(detail=self.detail)


class Finding(Value):
    """One thing that is not as it should be.

    `name` is the digest, name or id of the thing, `digest` the content that is damaged or missing, if it is
    content. `detail` is what the system or a document had to say; nothing reads it but people. `images`
    are those affected. `wrong`: damage, not only a leftover. `mended` is what was done about it, if anything.
    """

    fault: Fault
    name: str
    digest: Digest | None = None
    detail: str = ""
    images: tuple[str, ...] = ()
    wrong: bool = True
    mended: Mended | None = None

    @property
    def kind(self) -> str:
        """blob, tree, image, container, step, lease or database."""
        return self.fault.kind

    @property
    def problem(self) -> str:
        """What is wrong with it, one phrase."""
        return self.fault.sentence.format(digest=self.digest, detail=self.detail)

    @property
    def remedy(self) -> str:
        """What was done about it, one phrase; "" for nothing."""
        return str(self.mended) if self.mended else ""

    @property
    def line(self) -> str:
        """All of it in one line."""
        of = f" (of {', '.join(self.images)})" if self.images else ""
        end = (
            f"; repaired: {self.mended}" if self.mended else "" if self.wrong else "; the next prune frees it"
        )
        return f"{self.kind} {self.name}{of}: {self.problem}{end}"
