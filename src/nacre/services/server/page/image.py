"""One image: where its bytes are and who shares them, how it is configured, and how it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ....stores.accounts.model import Role
from ....stores.browsing import Browsing
from ....words.errors import NotFound
from ....words.oci import Manifest
from .attached import Attachments
from .documents import CONFIG_TYPES
from .history import MOST, bars, steps_of
from .visit import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ....words.oci import ImageConfig
    from ..state import RegistryState
    from .documents import Documents, Opened, PlatformImage
    from .history import LayerBar
    from .visit import Visit

_SHARERS = 12
"""Others that are named for one layer."""
_USUAL = "linux/amd64"
_TITLE = "org.opencontainers.image.title"
_NANO = 1_000_000_000


class ChosenImage(NamedTuple):
    """What a reference means for a platform: `top` is what it names, `opened` the image."""

    top: Opened
    opened: Opened
    platforms: Sequence[PlatformImage]
    platform: str


class ImageViews:
    """The handlers of one registry."""

    def __init__(self, state: RegistryState, documents: Documents) -> None:
        self._state, self._work, self._documents = state, state.work, documents
        self._browsing = Browsing(state.catalog)
        self._attachments = Attachments(state, documents)
        self.views = {"repository/image": self.show}
        self.forms: dict[str, Any] = {}

    async def show(self, visit: Visit) -> Shown:
        """All that is said of an image, and the picture of its layers."""
        name, reference = visit.location.repository, visit.location.reference
        chosen = await choose(self._documents, name, reference, visit.word("platform"))
        document = chosen.opened.document
        if not isinstance(document, Manifest):
            raise NotFound(f"{name} has no image {reference[:150]} for a platform that is here")
        config = await self._documents.config(name, document)
        steps = steps_of(config)
        aliases = await self._work.run(self._browsing.named, name, (chosen.top.digest, chosen.opened.digest))
        layers = await self._work.run(self._shared, visit, name, bars(document.layers, steps), set(aliases))
        values = {
            "name": name, "reference": reference, "digest": chosen.opened.digest, "top": chosen.top.digest,
            "platforms": chosen.platforms, "platform": chosen.platform, "layers": layers, "steps": steps,
            "aliases": [tag for tag in aliases if tag != reference], "facts": list(_facts(config)),
            "environment": _pairs(config), "labels": sorted(config.labels.items()) if config else [],
            "annotations": document.annotations, "is_image": document.config.media_type in CONFIG_TYPES,
            "kind": document.artifact_type or document.config.media_type, "titles": _titles(document),
            "size": sum(bar.size for bar in layers), "left_out": max(0, len(document.layers) - MOST),
            "own": sum(bar.size for bar in layers if not bar.is_shared),
            "attached": await self._attachments.of(name, chosen),
            "others": await self._others(name, {reference, *aliases}),
            "can_delete": ":" not in reference and visit.may(Role.DELETE, name),
        }  # fmt: skip
        return Shown("image.html", values)

    def _shared(self, visit: Visit, name: str, layers: list[LayerBar], aliases: set[str]) -> list[LayerBar]:
        """With the others that have each layer, as far as whoever asks may know of them."""
        most = _SHARERS + len(aliases)
        found = []
        for bar in layers:
            tags = [tag for tag in self._browsing.holders(name, bar.digest, most) if tag not in aliases]
            everywhere = self._browsing.held_in(bar.digest, "", 200)
            others = [each for each in everywhere if each != name and visit.may_read(each)]
            found.append(bar.replace(tags=tuple(tags[:_SHARERS]), repositories=tuple(others[:_SHARERS])))
        return found

    async def _others(self, name: str, same: set[str]) -> list[str]:
        """Tags that an image is likely to be compared with: the newest."""
        lines = await self._work.run(self._browsing.newest, name, "", (1e18, ""), 30)
        return [line.tag for line in lines if line.tag not in same]


async def choose(documents: Documents, name: str, reference: str, platform: str) -> ChosenImage:
    """What a tag or digest means for a platform; "" is linux/amd64, or else the first. Raises NotFound."""
    top = await documents.open(name, reference)
    if isinstance(top.document, Manifest):
        return ChosenImage(top, top, (), "")
    platforms = await documents.images(name, top)
    here = {image.platform: image for image in platforms if image.size is not None}
    wanted = platform or (_USUAL if _USUAL in here else next(iter(here), ""))
    if wanted not in here:
        raise NotFound(
            f"{name} has no image {reference[:150]} for {wanted[:100] or 'a platform that is here'}"
        )
    return ChosenImage(top, await documents.open(name, here[wanted].digest), platforms, wanted)


def _titles(document: Manifest) -> dict[str, str]:
    """The names of the files of an artifact, by digest."""
    return {str(layer.digest): dict(layer.annotations).get(_TITLE, "") for layer in document.layers}


def _facts(config: ImageConfig | None) -> Iterator[tuple[str, str]]:
    """How the image runs: title and text, those that it says something about."""
    if config is None:
        return
    run = config.run
    said = {
        "Platform": str(config.platform), "Created": config.created[:19].replace("T", " "),
        "Entrypoint": _words(config.entrypoint), "Command": _words(config.cmd),
        "User": config.user or "root", "Folder": config.working_dir,
        "Ports": ", ".join(sorted(run.get("ExposedPorts") or {})),
        "Volumes": ", ".join(sorted(run.get("Volumes") or {})),
        "Stop signal": run.get("StopSignal") or "", "Health check": _health(run.get("Healthcheck")),
        "Author": config.raw.get("author") or "",
    }  # fmt: skip
    yield from ((title, str(text)[:2000]) for title, text in said.items() if text)


def _words(words: Sequence[str]) -> str:
    from shlex import join

    return join(words)


def _health(check: object) -> str:
    test = check.get("Test") if isinstance(check, dict) else None
    if not isinstance(test, list) or not all(isinstance(word, str) for word in test):
        return ""
    interval = check.get("Interval") if isinstance(check, dict) else 0
    every = f", every {interval / _NANO:g} s" if isinstance(interval, int) and interval > 0 else ""
    return " ".join(test[1:] or test) + every


def _pairs(config: ImageConfig | None) -> list[tuple[str, str]]:
    return (
        [(name, value) for name, _, value in (line.partition("=") for line in config.env)] if config else []
    )
