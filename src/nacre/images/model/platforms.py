"""Which entry of an index runs here: the order of preference that containerd has.

    amd64/vN   vN, v(N-1) … v1, then 386              arm64/vN   vN … v8, then arm v8 … v5
    arm/vN     vN … v5                                else       exactly that

What is not said counts as amd64/v1, arm64/v8, arm/v7. `os.version` matters when one is wanted; an entry that
asks for features of the system comes after one that does not. Source: containerd/platforms, `Only` and
`platformVector`. Besides, an `arm` entry of no variant is taken for any arm, last: old images say no more.
"""

from __future__ import annotations

from ...words.digest import Digest
from ...words.errors import InvalidName, NacreError, NotFound
from ...words.oci import Descriptor, ImageConfig, Index, Manifest, Platform, parse_document
from ...words.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...stores.store import Store
    from .image import Image

_USUAL = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_LAST = 1000
_SHOWN = 20


def select(index: Index, platform: Platform | None, name: str) -> Descriptor:
    """The entry of an index for a platform (None: this machine), the first of those that fit best.

    A single entry without a platform is taken. Raises NotFound with a list of what there is.
    """
    wanted = platform or Platform.host()
    ranked = [
        (place, at, entry)
        for at, entry in enumerate(index.manifests)
        if entry.platform is not None and (place := rank(entry.platform, wanted)) is not None
    ]
    if ranked:
        return min(ranked, key=lambda row: row[:2])[2]
    if len(index.manifests) == 1 and index.manifests[0].platform is None:
        return index.manifests[0]
    raise NotFound(f"no image for {wanted} in {name}", hint=_there_is(index))


def rank(have: Platform, wanted: Platform) -> tuple[int, int] | None:
    """How well an image for `have` suits a machine that is `wanted`: less is better, None is not at all."""
    if have.os != wanted.os or not _version_fits(have.os_version, wanted.os_version):
        return None
    lacking = len(set(have.os_features) - set(wanted.os_features))
    for place, (architecture, variant) in enumerate(_vector(wanted)):
        if (have.architecture, _variant(have)) == (architecture, variant):
            return lacking, place
    loose = have.architecture == wanted.architecture == "arm" and not have.variant
    return (lacking, _LAST) if loose else None


def fits(image: Image, platform: Platform) -> bool:
    """Whether an image runs on a platform, by the same rule as an entry of an index is chosen."""
    return rank(image.config.platform, platform) is not None


def beside(image: Image, name: str, platform: Platform) -> Image | None:
    """The image for a platform from the same index that `name` has brought `image` from, if it is here."""
    refs = image.store.refs
    try:
        repository = Reference.parse(name).name
    except InvalidName:
        return None
    for descriptor in refs.beside(repository, image.digest):
        other = type(image).load(image.store, descriptor)
        if fits(other, platform):
            return other
    return None


def suited(image: Image, name: str, platform: Platform) -> Image:
    """What `name` means for a platform: `image`, or another of its index. Raises NotFound."""
    found = image if fits(image, platform) else beside(image, name, platform)
    if found is None:
        raise NotFound(misfit(image, name, platform))
    return found


def runnable(images: Sequence[Image]) -> Image:
    """The image that suits this machine best, else the first."""
    host = Platform.host()
    ranked = [(place, at) for at, image in enumerate(images) if (place := rank(image.config.platform, host))]
    return images[min(ranked)[1] if ranked else 0]


def misfit(image: Image, name: str, platform: Platform) -> str:
    """docker's sentence about an image that is for another platform than the one asked for."""
    return (
        f"image with reference {name} was found but its platform ({image.config.platform}) "
        f"does not match the specified platform ({platform})"
    )


def misfit_hint(platform: Platform) -> str:
    """Why this machine may not execute a program of an image for `platform`."""
    host = Platform.host()
    if rank(platform, host) is None:
        return f"the image is for {platform}, this machine is {host}"
    return f"it is neither a program for {host} nor a script that starts with #!"


def why_not_executed(store: Store, digest: str) -> str:
    """`misfit_hint` of the image with this manifest; "" where it cannot be read."""
    try:
        manifest = parse_document(store.blobs.read(Digest(digest)))
        if not isinstance(manifest, Manifest):
            return ""
        return misfit_hint(ImageConfig.parse(store.blobs.read(manifest.config.digest)).platform)
    except NacreError:
        return ""


def _version_fits(have: str, wanted: str) -> bool:
    """10.0.17763 is met by 10.0.17763.1 and 10.0.17763.2, not by 10.0.1776."""
    return not wanted or have == wanted or have.startswith(wanted + ".")


def _variant(platform: Platform) -> str:
    usual = _USUAL.get(platform.architecture, "")
    text = platform.variant or usual
    return f"v{text}" if text.isdecimal() and usual else text


def _vector(wanted: Platform) -> Iterator[tuple[str, str]]:
    """What a machine can run, the best first."""
    architecture, variant = wanted.architecture, _variant(wanted)
    yield architecture, variant
    if architecture == "arm64":
        yield from (("arm64", lower) for lower in _lower_arm64(variant))
        yield from (("arm", f"v{number}") for number in range(8, 4, -1))
    elif architecture in _USUAL:
        least = 1 if architecture == "amd64" else 5
        yield from ((architecture, f"v{number}") for number in range(_number(variant) - 1, least - 1, -1))
    if architecture == "amd64":
        yield "386", ""


def _number(variant: str) -> int:
    text = variant.removeprefix("v")
    return min(int(text[:3]), 100) if text.isdecimal() else 0


def _lower_arm64(variant: str) -> Iterator[str]:
    """v9.x runs v9.(x-1) … v9, and v8.(x+5) … v8 (Arm's manual: each v9.x has all of v8.(x+5))."""
    major, _, minor = variant.removeprefix("v").partition(".")
    if not major.isdecimal() or (minor and not minor.isdecimal()) or len(minor) > 2:
        return
    least = int(minor or 0)
    yield from (f"v{major}.{number}" if number else f"v{major}" for number in range(least - 1, -1, -1))
    if major == "9":
        yield from (f"v8.{number}" if number else "v8" for number in range(least + 5, -1, -1))


def _there_is(index: Index) -> str:
    shown = {_full(e.platform) for e in index.manifests if e.platform and e.platform.os != "unknown"}
    if not shown:
        return "the index has no images"
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"available: {', '.join(sorted(shown)[:_SHOWN])}{more}: choose with --platform"


def _full(platform: Platform) -> str:
    version = f"({platform.os_version})" if platform.os_version else ""
    return str(platform).replace(platform.os, platform.os + version, 1)
