"""Package URLs, `pkg:deb/debian/curl@7.88?arch=amd64`, by packageurl-python."""

from __future__ import annotations

from packageurl import PackageURL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...grammars.packages.package import Package
    from ...words.oci import Platform
    from ...words.reference import Reference

_DISTRIBUTED = {"deb": "debian", "apk": "alpine", "rpm": ""}
"""Kinds whose packages are of a distribution, and the one that counts where an image does not say."""


def package_url(package: Package, distribution: tuple[str, str]) -> str:
    """That of an installed package, in an image of a distribution (`id`, `version`)."""
    namespace, qualifiers = package.namespace, {"arch": package.architecture, "epoch": package.epoch}
    if package.kind in _DISTRIBUTED:
        name, version = distribution
        namespace = name or _DISTRIBUTED[package.kind]
        qualifiers |= {
            "distro": f"{name}-{version}" if name and version else name,
            "upstream": package.source,
        }
    found = {key: value for key, value in qualifiers.items() if value}
    url: str = PackageURL(
        package.kind, namespace or None, package.name, package.version or None, found
    ).to_string()
    return url


def image_url(kind: str, reference: Reference, platform: Platform | None) -> str:
    """That of an image, as BuildKit makes it: `kind` docker, or oci for a layout."""
    namespace, _, name = reference.familiar_name.rpartition("/")
    qualifiers = {"digest": str(reference.digest)} if reference.digest else {}
    if platform is not None:
        qualifiers["platform"] = str(platform)
    tag = reference.tag or (None if reference.digest else "latest")
    url: str = PackageURL(kind, namespace or None, name, tag, qualifiers or None).to_string()
    return url
