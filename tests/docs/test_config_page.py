"""docs/config.md shows a file that is taken, and every key there is."""

from __future__ import annotations

import re
from pathlib import Path

from nacre.grammars.config import from_variables
from nacre.grammars.config.schema import SECTION, TOP
from nacre.grammars.config.toml import parse_config

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "config.md").read_text(encoding="utf-8")


def test_the_file_shown_has_every_key() -> None:
    (shown,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    uncommented = shown.replace("# plain-http", "plain-http")
    found = parse_config(uncommented, "config.toml")
    assert len(found.sections) == 5
    for key in {*TOP, *SECTION}:
        assert re.search(rf"^{key} = ", uncommented, re.MULTILINE), key


def test_the_variables_shown_are_taken() -> None:
    pairs = dict(re.findall(r'(NACRE_(?:REGISTRY_|RATE)\w*)="?([^"\s]+)', PAGE))
    assert {"NACRE_REGISTRY_MIRRORS", "NACRE_REGISTRY_INSECURE", "NACRE_RATE"} <= set(pairs)
    assert len(from_variables(pairs).sections) == 2
