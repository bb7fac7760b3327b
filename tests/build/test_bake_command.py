"""`nacre bake`: files, targets made from targets, privileges, what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

BAKE = """
variable "TAG" {
  default = "v1"
}
group "default" {
  targets = ["app", "tool"]
}
target "base" {
  context           = "a"
  dockerfile-inline = <<-EOT
    FROM scratch
    COPY f /base
  EOT
}
target "app" {
  context  = "b"
  contexts = { base = "target:base" }
  tags     = ["app:${TAG}"]
  args     = { WHO = "me" }
  labels   = { x = "a,b" }
}
target "tool" {
  matrix            = { n = ["1", "2"] }
  name              = "tool-${n}"
  context           = "a"
  dockerfile-inline = "FROM scratch\\nCOPY f /tool-${n}\\n"
  output            = ["type=local,dest=out/${n}"]
}
"""


@pytest.fixture
def baking(nacre: Any, tmp_path: Path) -> Any:
    """The command line in a folder with a bake file and two contexts."""
    for name, text in {"docker-bake.hcl": BAKE, "a/f": "f", "b/g": "g"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "b/Dockerfile").write_text("FROM base\nARG WHO\nCOPY g /g\nLABEL who=$WHO\n")
    return nacre


def test_targets_their_outputs_and_what_is_told(baking: Any, tmp_path: Path) -> None:
    done = baking("bake", "--metadata-file", "meta.json", "--progress=plain")
    lines = done.err.splitlines()
    told = [line.partition(": built ")[0] for line in lines if line.startswith("target ")]
    assert told == ["target base", "target app", "target tool-1", "target tool-2"]
    assert lines[-1].startswith("built 4 targets in ")
    assert any(line.endswith(" [base internal] load build definition from Dockerfile") for line in lines)
    assert any(line.endswith(" [tool-2 1/1] COPY f /tool-2") for line in lines)
    assert any(line.endswith(" [app] exporting to image") for line in lines)
    (image,) = baking("inspect", "app:v1").json
    assert image["Config"]["Labels"] == {"who": "me", "x": "a,b"}
    assert len(image["RootFS"]["Layers"]) == 2
    assert (tmp_path / "out/1/tool-1").read_text() == (tmp_path / "out/2/tool-2").read_text() == "f"
    assert set(json.loads((tmp_path / "meta.json").read_text())) == {"base", "app", "tool-1", "tool-2"}
    # what was made for another target alone is not kept: app and both tools are
    assert len(baking("images", "-aq").out.split()) == 3


def test_overrides_and_groups(baking: Any) -> None:
    baking("bake", "--set", "app.args.WHO=you", "--set", "app.tags=other", "app", TAG="ignored")
    assert baking("inspect", "other").json[0]["Config"]["Labels"]["who"] == "you"
    shown = json.loads(baking("bake", "--print", "--push", "--no-cache", "tool").out)
    assert shown["group"] == {"default": {"targets": ["tool"]}, "tool": {"targets": ["tool-1", "tool-2"]}}
    assert shown["target"]["tool-1"]["no-cache"] is True
    assert shown["target"]["tool-1"]["output"] == [{"dest": "out/1", "type": "local"}]


def test_lists(baking: Any) -> None:
    assert baking("bake", "--list", "targets").out.splitlines()[:2] == ["TARGET    DESCRIPTION", "app       "]
    assert json.loads(baking("bake", "--list", "type=variables,format=json", TAG="9").out) == [
        {"name": "TAG", "value": "9"}
    ]
    assert baking("bake", "--list", "variables").out.startswith("VARIABLE ")
    tool = {"name": "tool", "description": "tool-1, tool-2", "group": True}
    assert tool in json.loads(baking("bake", "--list", "type=targets,format=json").out)
    assert baking("bake", "--list", "x", check=False).code == 1


def test_checks_and_outlines(baking: Any) -> None:
    clean = "Check complete, no warnings found.\n"
    assert baking("bake", "--check", "tool-*").out == f"tool-1\n\n{clean}\ntool-2\n\n{clean}"
    assert "WHO" in baking("bake", "--call", "outline", "--set", "app.contexts.base=", "app").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "app.context=/etc", "app"], "read access to /etc"),
        (["--set", "app.dockerfile=../../etc/x", "app"], "read access to b/../../etc/x"),
        (["--set", "app.network=host", "app"], "the network of this machine"),
        (["nope"], "failed to find target nope"),
        (["-f", "nope.hcl"], "cannot read nope.hcl: no such file or directory"),
        (["--allow", "everything"], "unknown entitlement 'everything'"),
        (["--set", "app.context=-", "app"], "context from stdin not allowed in bake"),
        (["--set", "tool-1.output=type=nonsense", "tool-1"], "nonsense"),
    ],
)
def test_what_is_refused(baking: Any, words: list[str], message: str) -> None:
    done = baking("bake", *words, check=False)
    assert (done.code, message in done.err, "Traceback" in done.err) == (1, True, False), done
    assert baking("images", "-aq").out == ""


def test_privileges_that_are_given(baking: Any, tmp_path: Path) -> None:
    (tmp_path.parent / f"{tmp_path.name}-far").mkdir()
    far = tmp_path.parent / f"{tmp_path.name}-far"
    (far / "Dockerfile").write_text("FROM scratch\n")
    words = [
        "bake",
        "--set",
        f"app.context={far}",
        "--set",
        "app.contexts.base=",
        "--set",
        "app.tags=far",
        "app",
    ]
    assert baking(*words, check=False).code == 1
    assert baking(*words, BUILDX_BAKE_ENTITLEMENTS_FS="0").code == 0
    assert baking("bake", "--allow", f"fs.read={far}", *words[1:]).code == 0
    (tmp_path / "link").symlink_to(far)
    assert (
        baking("bake", "--set", "app.context=link", "--set", "app.contexts.base=", "app", check=False).code
        == 1
    )


def test_compose_and_standard_input(baking: Any, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: 'web:${V:-0}', build: a}}\n")
    (tmp_path / ".env").write_text("# numbers\nV=7 # seven\n")
    (tmp_path / "a/Dockerfile").write_text("FROM scratch\nCOPY f /\n")
    baking("bake", "web")
    assert baking("inspect", "web:7").code == 0
    text = json.dumps({"target": {"default": {"context": "a", "tags": ["in"]}}})
    baking("bake", "-f", "-", input=text)
    assert baking("inspect", "in").code == 0


def test_what_has_no_effect_is_told(baking: Any, tmp_path: Path) -> None:
    (tmp_path / "docker-bake.hcl").write_text('target "default" {\n  colour = "red"\n}\n')
    said = baking("bake", "--print", "--builder", "far").err
    assert "WARNING: target default: colour is not known and has no effect" in said
    assert "WARNING: --builder far ignored: there is one builder" in said
