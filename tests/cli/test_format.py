from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.cli.format import Template
from nacre.words.errors import UsageError

DATA = {
    "ID": "0123",
    "Size": 42,
    "None": None,
    "Yes": True,
    "List": ["b", "a"],
    "Empty": [],
    "Config": {"Labels": {"org.x": "1", "b": "2"}, "Cmd": ["sh", "-c"], "User": ""},
}


def render(source: str, data: Any = DATA) -> str:
    return Template(source).render(data)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{.ID}}", "0123"),
        ("{{ .ID }}:{{.Size}}", "0123:42"),
        ('{"id":"{{.ID}}"}', '{"id":"0123"}'),
        (r"{{.ID}}\t{{.Size}}\n", "0123\t42\n"),
        ("{{.Config.Cmd}}", "[sh -c]"),
        ("{{.Config.Labels}}", "map[b:2 org.x:1]"),
        ("{{.None}}", "<no value>"),
        ("{{.Yes}}", "true"),
        ("{{json .Config.Cmd}}", '["sh","-c"]'),
        ("{{.List | json}}", '["b","a"]'),
        ("{{json .None}}", "null"),
        ("{{len .List}} {{len .Config.Labels}} {{len .None}}", "2 2 0"),
        ('{{index .Config.Labels "org.x"}}', "1"),
        ('{{index .Config.Labels "absent"}}', ""),
        ('{{index .Config "Labels" "b"}}', "2"),
        ("{{index .List 1}}", "a"),
        ("{{(index .List 0)}}", "b"),
        ("{{(.Config).User}}", ""),
        ('{{join .List ", "}}', "b, a"),
        ('{{split "a:b" ":"}}', "[a b]"),
        ('{{upper .ID}}{{lower "AB"}}{{title "ab"}}', "0123abAb"),
        ('{{truncate .ID 2}}|{{pad "x" 1 2}}', "01| x  "),
        ('{{printf "%s-%d-%5.1f-%q-%v%%" .ID 7 1.25 "x" .List}}', '0123-7-  1.2-"x"-[b a]%'),
        ('{{println "a" 1}}', "a 1\n"),
        ("{{range .List}}<{{.}}>{{end}}", "<b><a>"),
        ("{{range $i, $x := .List}}{{$i}}{{$x}}{{end}}", "0b1a"),
        ("{{range $x := .List}}{{$x}}{{$.ID}}{{end}}", "b0123a0123"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "b=2;org.x=1;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{if .Config.User}}u{{else if .Yes}}y{{else}}n{{end}}", "y"),
        ("{{if not .Yes}}x{{end}}", ""),
        ('{{if and .Yes (eq .ID "0123" "x")}}both{{end}}', "both"),
        ('{{or .Config.User "root"}}', "root"),
        ("{{if gt .Size 41}}big{{end}}{{if le .Size 41}}small{{end}}{{if ne .Size 1}}!{{end}}", "big!"),
        ("{{with .Config}}{{.Cmd}}{{end}}", "[sh -c]"),
        ("{{with .None}}x{{else}}-{{end}}", "-"),
        ("{{$x := .ID}}{{$x}}{{$x}}", "01230123"),
        ("a {{- .ID -}} b", "a0123b"),
        ("a {{- /* said */ -}} b", "ab"),
        ("{{`raw\\n`}}", "raw\\n"),
        ('{{"}} {{"}}', "}} {{"),
        ("{{-3}}", "-3"),
        ("{{true}}{{false}}", "truefalse"),
        ("{{.}}", "4"),
    ],
)
def test_templates(source: str, expected: str) -> None:
    assert render(source, 4 if source == "{{.}}" else DATA) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.ID", "column 1: '{{' is never closed"),
        ("ab{{.Nope}}", "column 5: there is no field .Nope"),
        ("{{.ID.X}}", "column 6: '0123' has no field .X"),
        ("{{.None.X}}", "column 8: '<no value>' has no field .X"),
        ("{{frob .ID}}", "column 3: unknown function 'frob'"),
        ("{{if .ID}}", "column 3: {{if}} has no {{end}}"),
        ("{{if .ID}}a{{else}}b", "column 14: {{else}} has no {{end}}"),
        ("{{end}}", "column 3: unexpected {{end}}"),
        ("{{else}}", "column 3: unexpected {{else}}"),
        ("{{.ID .Size}}", "column 7: unexpected '.Size'"),
        ("{{(.ID}}", "')' is missing"),
        ("{{.ID | .Size}}", "a function is expected after '|'"),
        ("{{.ID |}}", "a function is expected after '|'"),
        ("{{$x}}", "undefined variable $x"),
        ("{{index .List 9}}", "column 3: index: list index out of range"),
        ("{{len .Size}}", "column 3: len:"),
        ("{{range .ID}}{{end}}", "range cannot walk over"),
        ("{{%}}", "column 3: unexpected '%'"),
        ('{{"\\x"}}', "is no valid literal"),
        ("{{if}}{{end}}", "something is missing"),
        ("{{" + "(" * 100 + ".ID", "never closed"),
        ("{{" + "(" * 100 + ".ID" + ")" * 100 + "}}", "nested too deeply"),
        ("{{if .ID}}" * 100 + "{{end}}" * 100, "nested too deeply"),
    ],
)
def test_mistakes_say_where(source: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(source)
    assert message in caught.value.message


def test_an_unknown_field_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        render("{{.Nope}}", {"A": 1, "B": 2})
    assert caught.value.hint == "fields are A, B"


PIECES = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", ".ID", ".", "$", "$x", ":=", "|", "(", ")", '"', "`", "if ", "else", "end",
     "range ", "with ", "json", "printf", " ", "a", "\\", "/*", "*/", ",", "1", "-"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_source_renders_or_is_refused(source: str) -> None:
    with suppress(UsageError):
        assert isinstance(render(source), str)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\\{")))
def test_text_stays_as_it_is(source: str) -> None:
    assert render(source) == source
