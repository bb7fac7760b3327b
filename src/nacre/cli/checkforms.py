"""What `nacre build --check` found, for tools that show it beside the code.

format=sarif    SARIF 2.1.0 (OASIS), which code scanning of GitHub, GitLab and Azure reads
format=github   workflow commands, which GitHub Actions shows at the lines of a pull request
"""

from __future__ import annotations

import json

from .. import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Row = dict[str, Any]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_PAGE = "https://docs.docker.com/reference/build-checks/"
_ERROR = "DockerfileError"


def _findings(document: Row) -> Iterator[tuple[str, str, str, str, int, int]]:
    """The level, rule, page, text, first and last line of each."""
    for one in document["warnings"]:
        name, page = one.get("ruleName", "Dockerfile"), one.get("url", _PAGE)
        yield "warning", name, page, one["detail"], *_lines(one.get("location"))
    error = document.get("buildError")
    if error:
        yield "error", _ERROR, _PAGE, error["message"], *_lines(error.get("location"))


def _lines(location: Row | None) -> tuple[int, int]:
    if not location:
        return 1, 1
    lines = location["ranges"][0]
    return max(lines["start"]["line"], 1), max(lines["end"]["line"], 1)


def sarif(document: Row) -> str:
    """One run, with a rule for each that was broken."""
    name, results, rules = document["sources"][0]["filename"], [], {}
    for level, rule, page, text, first, last in _findings(document):
        rules[rule] = {"id": rule, "helpUri": page, "shortDescription": {"text": rule}}
        place = {"artifactLocation": {"uri": name}, "region": {"startLine": first, "endLine": last}}
        results.append({
            "ruleId": rule, "level": level, "message": {"text": text},
            "locations": [{"physicalLocation": place}],
        })  # fmt: skip
    driver = {"name": "nacre", "version": __version__, "rules": list(rules.values())}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}, indent=2, ensure_ascii=False)


def github(document: Row) -> str:
    """A line for each, with what GitHub would take for an end escaped."""
    name = _property(document["sources"][0]["filename"])
    return "\n".join(
        f"::{level} file={name},line={first},endLine={last},title={_property(rule)}::{_data(text)}"
        for level, rule, _, text, first, last in _findings(document)
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMS = {"sarif": sarif, "github": github}
