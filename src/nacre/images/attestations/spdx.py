"""The SBOM of an image as an SPDX 2.3 document, by spdx-tools.

    DOCUMENT ─describes─▶ the image ─contains─▶ each package

All in it comes from the image: the same image has the same document, byte for byte.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

from license_expression import ExpressionError, get_spdx_licensing
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model import (
    Actor,
    ActorType,
    CreationInfo,
    Document,
    ExternalPackageRef,
    ExternalPackageRefCategory,
    ExtractedLicensingInfo,
    PackagePurpose,
    Relationship,
    RelationshipType,
    SpdxNoAssertion,
)
from spdx_tools.spdx.model import Package as SpdxPackage

from ... import __version__
from .packageurls import package_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.packages.package import Package
    from ..model.image import Image
    from .inventory import Inventory

PREDICATE_TYPE = "https://spdx.dev/Document"
_DOCUMENT, _IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-Image"
_BEGINNING = datetime(1970, 1, 1)


def spdx_document(image: Image, inventory: Inventory) -> bytes:
    """The document, as JSON."""
    licenses = _Licenses()
    distribution = inventory.distribution
    packages = [_package(one, distribution, licenses) for one in inventory.packages]
    relations = [Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE)]
    relations += [Relationship(_IMAGE, RelationshipType.CONTAINS, one.spdx_id) for one in packages]
    document = Document(
        _creation(image, inventory), [_root(image), *packages], relationships=relations,
        extracted_licensing_info=licenses.extracted,
    )  # fmt: skip
    made: dict[str, Any] = DocumentConverter().convert(document)
    return json.dumps(made, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _creation(image: Image, inventory: Inventory) -> CreationInfo:
    return CreationInfo(
        "SPDX-2.3", _DOCUMENT, image.id.hex, f"https://spdx.org/spdxdocs/nacre-{image.id.hex}",
        [Actor(ActorType.TOOL, f"nacre-{__version__}")], _created(image),
        document_comment="\n".join(inventory.remarks) or None,
    )  # fmt: skip


def _created(image: Image) -> datetime:
    """When the image was made, to the second, as SPDX has it."""
    try:
        found = datetime.fromisoformat(str(image.config.raw.get("created") or ""))
    except ValueError:
        return _BEGINNING
    moment = found.astimezone(UTC) if found.tzinfo else found
    return moment.replace(tzinfo=None, microsecond=0)


def _root(image: Image) -> SpdxPackage:
    return SpdxPackage(
        _IMAGE, "image", SpdxNoAssertion(), version=str(image.id), files_analyzed=False,
        primary_package_purpose=PackagePurpose.CONTAINER,
    )  # fmt: skip


def _package(package: Package, distribution: tuple[str, str], licenses: _Licenses) -> SpdxPackage:
    url = package_url(package, distribution)
    name = f"{package.namespace}/{package.name}" if package.namespace else package.name
    return SpdxPackage(
        _identifier(package), name, SpdxNoAssertion(), version=package.version or None, files_analyzed=False,
        supplier=_supplier(package), license_concluded=SpdxNoAssertion(),
        license_declared=licenses.of(package.license), copyright_text=SpdxNoAssertion(),
        source_info=f"acquired package info from {package.path}",
        external_references=[
            ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", url)
        ],
    )  # fmt: skip


def _identifier(package: Package) -> str:
    key = "\0".join((package.kind, package.namespace, package.name, package.version, package.architecture))
    name = "".join(one if one.isascii() and one.isalnum() else "-" for one in package.name)
    return f"SPDXRef-Package-{package.kind}-{name[:64]}-{sha256(key.encode()).hexdigest()[:16]}"


def _supplier(package: Package) -> Actor | SpdxNoAssertion:
    name, _, mail = package.supplier.partition("<")
    name = " ".join(name.replace("(", " ").replace(")", " ").split())
    if not name:
        return SpdxNoAssertion()
    kind = ActorType.ORGANIZATION if package.kind == "rpm" else ActorType.PERSON
    mail = mail.partition(">")[0].strip()
    return Actor(kind, name, mail if "@" in mail and " " not in mail else None)


class _Licenses:
    """Licenses as expressions; what is none gets a name of its own."""

    def __init__(self) -> None:
        self._licensing = get_spdx_licensing()
        self._known: dict[str, Any] = {"": SpdxNoAssertion()}
        self.extracted: list[ExtractedLicensingInfo] = []

    def of(self, text: str) -> Any:
        """A license expression, or that nothing is known."""
        if text not in self._known:
            self._known[text] = self._read(text)
        return self._known[text]

    def _read(self, text: str) -> Any:
        try:
            found = self._licensing.parse(text, validate=True)
        except (ExpressionError, ValueError, TypeError, AttributeError, IndexError, RecursionError):
            found = None
        return self._extract(text) if found is None else found

    def _extract(self, text: str) -> Any:
        name = f"LicenseRef-{sha256(text.encode()).hexdigest()[:16]}"
        self.extracted.append(ExtractedLicensingInfo(name, text, text[:100]))
        return self._licensing.parse(name)
