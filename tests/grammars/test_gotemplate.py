"""Templates. What is expected here was printed by Go's text/template with docker's functions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacre.grammars.gotemplate import GoList, Shapes, Struct, Template, to_json
from nacre.words.errors import UsageError

DATA = {
    "ID": "0123",
    "Size": 42,
    "None": None,
    "Yes": True,
    "Half": 0.5,
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
        (r"{{.ID}}\t{{.Size}}\n", r"0123\t42\n"),
        ("{{.Config.Cmd}}", "[sh -c]"),
        ("{{.Config.Labels}}", "map[b:2 org.x:1]"),
        ("{{.None}} {{.Nope}}", "<no value> <no value>"),
        ("{{.Nope.More}}", "<no value>"),
        ("{{.Yes}}", "true"),
        ("{{json .Config.Cmd}}", '["sh","-c"]'),
        ("{{.List | json}}", '["b","a"]'),
        ("{{json .None}} {{json .Nope}}", "null null"),
        ('{{json "<&>\\u2028"}}', '"<&>\\u2028"'),
        ("{{json .Config}}", '{"Cmd":["sh","-c"],"Labels":{"b":"2","org.x":"1"},"User":""}'),
        ("{{len .List}} {{len .Config.Labels}} {{len `é`}}", "2 2 2"),
        ('{{index .Config.Labels "org.x"}}', "1"),
        ('{{index .Config.Labels "absent"}}', "<no value>"),
        ('{{index .Config "Labels" "b"}}', "2"),
        ("{{index .List 1}} {{index .ID 0}}", "a 48"),
        ("{{(index .List 0)}}", "b"),
        ("{{(.Config).User}}", ""),
        ("{{slice .ID 1 3}}|{{slice .ID 2}}|{{slice .List 1}}|{{slice .ID}}", "12|23|[a]|0123"),
        ('{{join .List ", "}}', "b, a"),
        ('{{join .Config.Labels ","}}', "1,2"),
        ('{{split "a:b" ":"}} {{split "ab" ""}}', "[a b] [a b]"),
        ('{{upper .ID}}{{lower "AB"}}{{title "ab c_d"}}', "0123abAb C_d"),
        ('{{truncate .ID 2}}|{{truncate "ab" 9}}|{{pad "x" 1 2}}|{{pad "" 1 2}}', "01|ab| x  |"),
        ('{{printf "%s-%d-%5.1f-%q-%v%%" .ID 7 1.25 "x" .List}}', '0123-7-  1.2-"x"-[b a]%'),
        (
            '{{printf "%5d|%-5s|%05d|%x|%X|%t|%c|%U" 3 "a" -7 255 "hi" true 65 65}}',
            "    3|a    |-0007|ff|6869|true|A|U+0041",
        ),
        ('{{printf "%[2]v %[1]v %*d" 1 2}}', "2 1 %!d(MISSING)"),
        (
            '{{printf "%d %s %z" "a" 1 2}} {{printf "%d"}} {{printf "x" 1}}',
            "%!d(string=a) %!s(int=1) %!z(int=2) %!d(MISSING) x%!(EXTRA int=1)",
        ),
        ('{{printf "%v %+v %#v %T" .List .Yes "a" .Size}}', '[b a] true "a" int'),
        ('{{printf "%v %v %v" 1e21 0.000001 100.5}}', "1e+21 1e-06 100.5"),
        ('{{println "a" 1}}', "a 1\n"),
        ('{{print 1 2 "a" "b" 3}}', "1 2ab3"),
        (
            '{{html "<a&\'>"}} {{urlquery "a b/é"}} {{js "it\'s<"}}',
            "&lt;a&amp;&#39;&gt; a+b%2F%C3%A9 it\\'s\\u003C",
        ),
        ("{{range .List}}<{{.}}>{{end}}", "<b><a>"),
        ("{{range $i, $x := .List}}{{$i}}{{$x}}{{end}}", "0b1a"),
        ("{{range $x := .List}}{{$x}}{{$.ID}}{{end}}", "b0123a0123"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "b=2;org.x=1;"),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}", "01201"),
        ("{{range .List}}{{if eq . `a`}}{{break}}{{end}}{{.}}{{end}}", "b"),
        ("{{range .List}}{{if eq . `b`}}{{continue}}{{end}}{{.}}{{end}}", "a"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "a"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{if .Config.User}}u{{else if .Yes}}y{{else}}n{{end}}", "y"),
        ("{{with .None}}x{{else with .ID}}{{.}}{{end}}", "0123"),
        ("{{if not .Yes}}x{{end}}", ""),
        ('{{if and .Yes (eq .ID "0123" "x")}}both{{end}}', "both"),
        ("{{and false (index .List 99)}} {{or .ID (index .List 99)}}", "false 0123"),
        ('{{or .Config.User "root"}}', "root"),
        ("{{if gt .Size 41}}big{{end}}{{if le .Size 41}}small{{end}}{{if ne .Size 1}}!{{end}}", "big!"),
        ("{{eq .None nil}} {{eq .Size nil}} {{lt `a` `b`}} {{ge .Half 0.5}}", "true false true true"),
        ("{{with .Config}}{{.Cmd}}{{end}}", "[sh -c]"),
        ("{{with .None}}x{{else}}-{{end}}", "-"),
        ("{{$x := .ID}}{{$x}}{{$x}}", "01230123"),
        ('{{define "q"}}[{{.}}]{{end}}{{template "q" .ID}}{{template "q"}}', "[0123][<no value>]"),
        ('{{block "b" .ID}}<{{.}}>{{end}}{{template "b" 1}}', "<0123><1>"),
        ("a {{- .ID -}} b", "a0123b"),
        ("a\n {{- /* said */ -}} \tb", "ab"),
        ("{{`raw\\n`}}", "raw\\n"),
        (r'{{"\t\x41\u00e9\101"}}', "\tAéA"),
        ('{{"}} {{"}}', "}} {{"),
        ("{{-3}} {{0x1F}} {{1_000}} {{017}} {{1e3}} {{'a'}}", "-3 31 1000 15 1000 97"),
        ("{{true}}{{false}}", "truefalse"),
        ("{{.}}", "4"),
    ],
)
def test_templates(source: str, expected: str) -> None:
    assert render(source, 4 if source == "{{.}}" else DATA) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{.ID", "template parsing error: template: :1: unclosed action"),
        ("\n{{.ID\n", "template parsing error: template: :3: unclosed action started at :2"),
        ("{{frob .ID}}", 'template parsing error: template: :1: function "frob" not defined'),
        ("{{if .ID}}", "template parsing error: template: :1: unexpected EOF"),
        ("{{if .ID}}a{{else}}b", "template parsing error: template: :1: unexpected EOF"),
        ("{{end}}", "template parsing error: template: :1: unexpected {{end}}"),
        ("{{else}}", "template parsing error: template: :1: unexpected {{else}}"),
        ("{{(.ID}}", "template parsing error: template: :1: unclosed left paren"),
        ("{{.ID)}}", "template parsing error: template: :1: unexpected right paren"),
        ("{{.ID | 1}}", "template parsing error: template: :1: non executable command in pipeline stage 2"),
        ("{{.ID || len}}", 'template parsing error: template: :1: unexpected "|" in command'),
        ("{{$x}}", 'template parsing error: template: :1: undefined variable "$x"'),
        ("{{if}}{{end}}", "template parsing error: template: :1: missing value for if"),
        ("{{%}}", 'template parsing error: template: :1: unexpected "%" in command'),
        ('{{"\\q"}}', "template parsing error: template: :1: invalid syntax"),
        ('{{"a}}', "template parsing error: template: :1: unterminated quoted string"),
        ("{{/* a", "template parsing error: template: :1: unclosed comment"),
        ("{{/* a */ .ID}}", "template parsing error: template: :1: comment ends before closing delimiter"),
        ("{{break}}", "template parsing error: template: :1: {{break}} outside {{range}}"),
        ('{{.ID "x" }}{{define "a"}}', "template parsing error: template: :1: unexpected EOF"),
        (
            "ab{{.Nope.X}}é{{.ID.X}}",
            'template: :1:20: executing "" at <.ID.X>: can\'t evaluate field X in type interface {}',
        ),
        ("{{.None.X}}", 'template: :1:7: executing "" at <.None.X>: nil pointer evaluating interface {}.X'),
        ("{{.ID .Size}}", 'template: :1:2: executing "" at <.ID>: ID is not a method but has arguments'),
        (
            "{{index .List 9}}",
            'template: :1:2: executing "" at <index .List 9>: error calling index: index out of range: 9',
        ),
        (
            "\n {{len .Size}}",
            'template: :2:3: executing "" at <len .Size>: error calling len: len of type int',
        ),
        ("{{range .ID}}{{end}}", 'template: :1:8: executing "" at <.ID>: range can\'t iterate over 0123'),
        (
            "{{upper .Size}}",
            'template: :1:8: executing "" at <.Size>: wrong type for value; expected string; got int',
        ),
        ("{{upper 1}}", 'template: :1:8: executing "" at <1>: expected string; found 1'),
        (
            "{{upper}}",
            'template: :1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0',
        ),
        (
            "{{eq 1 `a`}}",
            (
                'template: :1:2: executing "" at <eq 1 `a`>: error calling eq: '
                "incompatible types for comparison: int and string"
            ),
        ),
        ('{{template "q"}}', 'template: :1:11: executing "" at <{{template "q"}}>: template "q" not defined'),
        (
            '{{define "q"}}{{.X}}{{end}}{{template "q" .ID}}',
            'template: :1:16: executing "q" at <.X>: can\'t evaluate field X in type string',
        ),
        ("{{nil}}", 'template: :1:2: executing "" at <nil>: nil is not a command'),
    ],
)
def test_mistakes_are_told_as_go_tells_them(source: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        render(source)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "source",
    [
        "{{" + "(" * 100 + ".ID" + ")" * 100 + "}}",
        "{{if .ID}}" * 100 + "{{end}}" * 100,
        '{{define "a"}}{{template "a"}}{{end}}{{template "a"}}',
    ],
)
def test_depth_is_bounded(source: str) -> None:
    with pytest.raises(UsageError, match=r"deep|depth"):
        render(source)


SHAPES = Shapes("""
    Thing main.Thing ID=Id string State *State Tags []string Labels map[string]string Health? *Health N int
    State main.State  Running bool  Health? *Health
    Health main.Health  Status string
""")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{.ID}}{{.Id}}|{{.Tags}}|{{.Labels}}|{{.N}}|{{.Health}}", "|[]|map[]|0|<nil>"),
        ("{{json .}}", '{"Id":"","State":null,"Tags":null,"Labels":null,"N":0}'),
        ("{{.Labels.nope}}|{{index .Labels `nope`}}|{{len .Tags}}", "<no value>||0"),
        ("{{if .Health}}y{{else}}n{{end}}{{with .Labels.a}}y{{end}}{{range .Tags}}y{{end}}", "n"),
        ("{{json .Health}}{{json .Tags}}", "nullnull"),
    ],
)
def test_documents_know_the_types_of_what_is_absent(source: str, expected: str) -> None:
    assert render(source, SHAPES.fill("Thing", {})) == expected


def test_structs_show_their_fields_in_order() -> None:
    thing = SHAPES.fill("Thing", {"State": {"Running": True}, "Tags": ["a"], "Id": "x"})
    assert render("{{.State}} {{printf `%+v` .State}}", thing) == "{true <nil>} {Running:true Health:<nil>}"
    assert to_json(thing) == '{"Id":"x","State":{"Running":true},"Tags":["a"],"Labels":null,"N":0}'


def test_a_field_that_a_struct_has_not_lists_the_known() -> None:
    with pytest.raises(UsageError) as caught:
        render("{{.Nope}}", Struct({"A": 1, "B": 2}, "main.T"))
    assert (
        caught.value.message
        == 'template: :1:2: executing "" at <.Nope>: can\'t evaluate field Nope in type main.T'
    )
    assert caught.value.hint == "fields are A, B"


def test_a_document_takes_no_field_that_its_type_has_not() -> None:
    with pytest.raises(KeyError, match="Nope"):
        SHAPES.fill("Thing", {"Nope": 1})


def test_strict_rendering_misses_keys() -> None:
    with pytest.raises(UsageError, match='map has no entry for key "Nope"'):
        Template("{{.Nope}}").render(DATA, strict=True)


def test_methods_take_arguments() -> None:
    thing = Struct({"A": 1}, "main.T", methods={"Label": lambda self, name: f"{self['A']}{name}"})
    assert render('{{.Label "x"}}{{"y" | .Label}}', thing) == "1x1y"
    with pytest.raises(UsageError, match="wrong number of args for Label: want 1 got 0"):
        render("{{.Label}}", thing)


def test_bytes_that_are_no_text_are_kept() -> None:
    assert render("{{.}}{{len .}}", "a\udcffb") == "a\udcffb3"
    assert render("{{printf `%q` .}}", "a\udcff") == '"a\\xff"'
    assert render("{{slice . 0 1}}", "é") == "\udcc3"


def test_a_list_that_was_never_made_is_null_and_one_that_is_empty_is_not() -> None:
    assert to_json([GoList(nil=True), GoList()]) == "[null,[]]"


PIECES = st.sampled_from(
    ["{{", "}}", "{{-", "-}}", ".ID", ".", "$", "$x", ":=", "=", "|", "(", ")", '"', "`", "'", "if ", "else",
     "end", "range ", "with ", "define", "template", "block", "break", "continue", "nil", "json", "printf",
     "slice", "index", "eq", " ", "a", "\\", "/*", "*/", ",", "1", "-", "0x", "e", "%[", "*"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_any_source_renders_or_is_refused(source: str) -> None:
    with suppress(UsageError):
        assert isinstance(render(source), str)


@given(
    st.text("%[]*-+# 0123456789.vdsqxXtcUeEfgGboOT!z", max_size=12),
    st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-9, 300),
            st.floats(),
            st.text(max_size=3),
            st.lists(st.integers(0, 3), max_size=2),
        ),
        max_size=3,
    ),
)
def test_any_format_prints_something(form: str, values: list[Any]) -> None:
    words = " ".join(f"(index .V {place})" for place in range(len(values)))
    assert isinstance(render(f"{{{{printf .F {words}}}}}", {"F": form, "V": values}), str)


@given(st.text(st.characters(codec="utf-8", exclude_characters="{")))
def test_text_stays_as_it_is(source: str) -> None:
    assert render(source) == source
