"""What `nacre build --check` or `--advice` found, for tools that show it beside the code.

format=sarif    SARIF 2.1.0 (OASIS), which code scanning of GitHub, GitLab and Azure reads
format=github   workflow commands, which GitHub Actions shows at the lines of a pull request
"""

from __future__ import annotations

import json

from .. import __version__
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Row = dict[str, Any]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_PAGE = "https://docs.docker.com/reference/build-checks/"
_ERROR = "DockerfileError"
_LEVELS = {"note": "notice"}
"""Those that GitHub calls otherwise."""


class LintFinding(Value):
    """Something at some lines; `level` error, warning or note. `size` in bytes; `instead`: what to write."""

    level: str
    rule: str
    page: str
    text: str
    first: int
    last: int
    size: int = 0
    instead: str = ""


def _findings(document: Row) -> Iterator[LintFinding]:
    for one in document["warnings"]:
        name, page = one.get("ruleName", "Dockerfile"), one.get("url", _PAGE)
        yield LintFinding("warning", name, page, one["detail"], *_lines(one.get("location")))
    for one in document.get("advice", ()):
        level = "warning" if one["ruleName"].startswith("Secret") else "note"
        place = _lines(one.get("location"))
        rest = one.get("size", 0), one.get("instead", "")
        yield LintFinding(level, one["ruleName"], "", one["detail"], *place, *rest)
    error = document.get("buildError")
    if error:
        yield LintFinding("error", _ERROR, _PAGE, error["message"], *_lines(error.get("location")))


def _lines(location: Row | None) -> tuple[int, int]:
    if not location:
        return 1, 1
    lines = location["ranges"][0]
    return max(lines["start"]["line"], 1), max(lines["end"]["line"], 1)


def _message(one: LintFinding) -> str:
    return f"{one.text}\nInstead:\n{one.instead}" if one.instead else one.text


def sarif(document: Row) -> str:
    """One run, with a rule for each that was broken."""
    name, results, rules = document["sources"][0]["filename"], [], {}
    for one in _findings(document):
        page = {"helpUri": one.page} if one.page else {}
        rules[one.rule] = {"id": one.rule, **page, "shortDescription": {"text": one.rule}}
        place = {"artifactLocation": {"uri": name}, "region": {"startLine": one.first, "endLine": one.last}}
        size = {"properties": {"bytes": one.size}} if one.size else {}
        results.append({
            "ruleId": one.rule, "level": one.level, "message": {"text": _message(one)},
            "locations": [{"physicalLocation": place}], **size,
        })  # fmt: skip
    driver = {"name": "nacre", "version": __version__, "rules": list(rules.values())}
    runs = [{"tool": {"driver": driver}, "results": results}]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}, indent=2, ensure_ascii=False)


def github(document: Row) -> str:
    """A line for each, with what GitHub would take for an end escaped."""
    name = _property(document["sources"][0]["filename"])
    return "\n".join(
        f"::{_LEVELS.get(one.level, one.level)} file={name},line={one.first},endLine={one.last},"
        f"title={_property(one.rule)}::{_data(_message(one))}"
        for one in _findings(document)
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMS = {"sarif": sarif, "github": github}
