"""Bake files: expressions, variables, inheritance, overrides, what `--print` shows."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.grammars.bakekit import defined, planned, value

from nacre.grammars.bake import hcl, template
from nacre.words.errors import InvalidDocument, NacreError, NotFound, UsageError

# expressions


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("1 + 2 * 3 - 4 / 2", 5),
        ("-3 + 4", 1),
        ("7 % 3", 1),
        ("10 / 4", 2.5),
        ("1e3", 1000),
        ("(1 + 2) * 3", 9),
        ("!true || 1 < 2 && 2 >= 2", True),
        ('"1" == 1', False),
        ('"a" != "b"', True),
        ("null == null", True),
        ('true ? "yes" : nosuch', "yes"),
        ('"${1}"', 1),
        ('"x${1}y${true}"', "x1ytrue"),
        ('"a\\n\\"\\u00e9"', 'a\n"é'),
        ('"$${x} %%{y}"', "${x} %{y}"),
        ("[1, 2, 3][1]", 2),
        ("[1, 2].0", 1),
        ('{a = 1, "b" = 2}["b"]', 2),
        ("{a = {b = [5]}}.a.b[0]", 5),
        ('[{n = "x"}, {n = "y"}][*].n', ["x", "y"]),
        ("null[*]", []),
        ("[for x in [1, 2, 3] : x * 2 if x != 2]", [2, 6]),
        ('{for k, v in {a = "b"} : upper(k) => v}', {"A": "b"}),
        ('{for x in [1, 2, 3] : (x % 2 == 0 ? "even" : "odd") => x...}', {"odd": [1, 3], "even": [2]}),
        ('"%{ if false }a%{ else }b%{ endif }c"', "bc"),
        ('"%{ for x in [1, 2] }<${x}>%{ endfor }"', "<1><2>"),
        ('"a %{~ if true ~} b %{~ endif ~} c"', "abc"),
        ("try(nosuch, 2)", 2),
        ("can(nosuch)", False),
        ("max([1, 5, 2]...)", 5),
        ('"%{ if true }%{ if false }x%{ endif }y%{ endif }"', "y"),
    ],
)
def test_expressions(written: str, wanted: object) -> None:
    assert value(written) == wanted


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ('join("-", ["a", "b"])', "a-b"),
        ('split(",", "a,b")', ["a", "b"]),
        ('replace("a.b.c", ".", "-")', "a-b-c"),
        ('title("hello world")', "Hello World"),
        ('substr("hello", 1, 3)', "ell"),
        ('substr("hello", -3, -1)', "llo"),
        ('format("%s-%03d-%.2f-%t-%q", "a", 7, 1.5, true, "x")', 'a-007-1.50-true-"x"'),
        ('format("%[2]s%[1]s", "a", "b")', "ba"),
        ('formatlist("%s:%s", ["a", "b"], "v")', ["a:v", "b:v"]),
        ('regex("[0-9]+", "ab12")', "12"),
        ('regex("(?P<y>[0-9]+)-(?P<m>[0-9]+)", "20-11")', {"y": "20", "m": "11"}),
        ('regex_replace("a1b22", "[0-9]+", "<$0>")', "a<1>b<22>"),
        ('regexall("[0-9]", "1a2")', ["1", "2"]),
        ('sanitize("a.b/c")', "a_b_c"),
        ('basename("/a/b.c")', "b.c"),
        ('dirname("/a/b.c")', "/a"),
        ('basename("")', "."),
        ('coalesce(null, "", "x")', "x"),
        ('concat(["a"], ["b"])', ["a", "b"]),
        ('contains(["a"], "a")', True),
        ("distinct([1, 1, 2])", [1, 2]),
        ("flatten([[1], [2, [3]]])", [1, 2, 3]),
        ("chunklist([1, 2, 3], 2)", [[1, 2], [3]]),
        ("keys({b = 1, a = 2})", ["a", "b"]),
        ("values({b = 1, a = 2})", [2, 1]),
        ('lookup({a = 1}, "b", 3)', 3),
        ("merge({a = 1}, {a = 2, b = 3})", {"a": 2, "b": 3}),
        ("range(3)", [0, 1, 2]),
        ("range(1, 8, 3)", [1, 4, 7]),
        ("range(3, 0)", [3, 2, 1]),
        ('setproduct(["a", "b"], [1])', [["a", 1], ["b", 1]]),
        ("slice([1, 2, 3], 1, 3)", [2, 3]),
        ('sort(["b", "a"])', ["a", "b"]),
        ('zipmap(["a"], [1])', {"a": 1}),
        ("setsymmetricdifference([1, 2], [2, 3])", [1, 3]),
        ('base64encode("hi")', "aGk="),
        ('base64decode("aGk=")', "hi"),
        ('sha256("")[0]', "error"),
        ('md5("a")', "0cc175b9c0f1b6a831c399e269772661"),
        ('urlencode("a b&c")', "a+b%26c"),
        ('jsondecode("{\\"a\\":[1]}").a[0]', 1),
        ('csvdecode("a,b\\n1,2")[0].b', "2"),
        ('uuidv5("dns", "example.com")', "cfbff0d1-9375-5685-968c-48ce8b15ae17"),
        ('cidrhost("10.0.0.0/8", 2)', "10.0.0.2"),
        ('cidrsubnet("10.0.0.0/8", 8, 2)', "10.2.0.0/16"),
        ('cidrsubnets("10.0.0.0/8", 8, 4)', ["10.0.0.0/16", "10.16.0.0/12"]),
        ('cidrnetmask("10.0.0.0/12")', "255.240.0.0"),
        ('timeadd("2020-01-01T00:00:00Z", "1h30m")', "2020-01-01T01:30:00Z"),
        ('formatdate("YYYY-MM-DD hh:mm:ss \'at\' Z", "2020-03-04T05:06:07Z")', "2020-03-04 05:06:07 at Z"),
        ('parseint("ff", 16)', 255),
        ("pow(2, 10)", 1024),
        ("log(8, 2)", 3),
        ("signum(-3)", -1),
        ("ceil(1.2)", 2),
        ("int(1.7)", 1),
        ('trimprefix("v1", "v")', "1"),
        ('trimsuffix("a.x", ".x")', "a"),
        ('indent(2, "a\\nb")', "a\n  b"),
        ('chomp("a\\n")', "a"),
        ('strlen("é")', 1),
        ('byteslen("é")', 2),
        ('element(["a", "b"], 3)', "b"),
        ('indexof(["a", "b"], "b")', 1),
    ],
)
def test_functions(written: str, wanted: object) -> None:
    if wanted == "error":
        with pytest.raises(InvalidDocument):
            value(written)
    else:
        assert value(written) == wanted


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("nosuch", "there is no variable named 'nosuch'"),
        ("nosuch()", "there is no function named 'nosuch'"),
        ("1 / 0", "division by zero"),
        ('upper("a", "b")', "upper() does not take 2 arguments"),
        ("[1][2]", "has no element 2"),
        ("range(100000)", "more than 1024 numbers"),
        ('bcrypt("x")', "bcrypt is not supported"),
        ('"%{ if true }"', "no end"),
        ("{a = 1}.b", "there is no 'b'"),
        ("true ? 1", "invalid HCL"),
        ('1 + "x"', "a number is required"),
        ("![1]", "a bool is required"),
        ('join("", [for x in range(1000) : join("", [for y in range(1000) : "xxxxxx"])])', "more than"),
        ("pow(pow(2, 4000), 4000)", "bits"),
        ('format("%9999999999s", "x")', "too wide"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(written: str, message: str) -> None:
    with pytest.raises(InvalidDocument, match=r"docker-bake\.hcl:2:") as error:
        value(written)
    assert message in error.value.message


def test_here_documents() -> None:
    text = (
        'target "default" {\n  dockerfile-inline = <<-EOT\n    FROM a\n'
        '      RUN ${upper("x")} $${y} "\\n"\n  EOT\n}\n'
    )
    shown = planned(text)["default"]["dockerfile-inline"]
    assert shown == 'FROM a\n  RUN X $${y} "\\n"\n'


@given(st.text(alphabet=st.sampled_from('ab"\\\n\t é{}'), max_size=30))
def test_text_without_signs_is_itself(text: str) -> None:
    assert template.unescaped(template.quoted(text)[1:-1]) == text


@given(st.text(alphabet=st.sampled_from('ab"\\\n${}%[]=<E()?:~,.#/*'), max_size=40))
def test_no_text_is_more_than_an_error(text: str) -> None:
    for name in ("x.hcl", "x.json", "x.yaml"):
        with suppress(NacreError):
            planned({name: text})


@given(st.text(alphabet=st.sampled_from('ab"\\\n${}% if endfor'), max_size=40))
def test_no_template_is_more_than_an_error(text: str) -> None:
    document = json.dumps({"target": {"default": {"context": text}}})
    with suppress(NacreError):
        planned({"x.json": document})


def test_what_refers_to_itself_ends() -> None:
    with pytest.raises(InvalidDocument, match="refers to itself"):
        planned('variable "A" {\n default = B\n}\nvariable "B" {\n default = A\n}\ntarget "default" {}')
    with pytest.raises(InvalidDocument, match="too deeply"):
        planned('function "f" {\n params = [x]\n result = f(x)\n}\ntarget "default" {\n context = f("")\n}')
    with pytest.raises(InvalidDocument, match="too deeply"):
        planned('target "default" {\n context = target.default.context\n}')


# variables

VARIABLES = """
variable "TAG" {
  default = "v1"
}
variable "N" {
  default = 5
  validation {
    condition     = N > 3
    error_message = "too small"
  }
}
variable "FLAG" {
  default = false
}
variable "LIST" {
  type    = list(string)
  default = ["a"]
}
PREFIX = "p-${TAG}"
target "default" {
  tags = [for each in LIST : "x:${PREFIX}-${each}"]
  args = { n = N + 1, f = FLAG ? "on" : "off", e = EMPTY }
}
variable "EMPTY" {}
"""


def test_variables_of_the_environment_have_the_type_of_the_default() -> None:
    assert planned(VARIABLES)["default"]["args"] == {"n": "6", "f": "off", "e": ""}
    shown = planned(VARIABLES, environment={"N": "7", "FLAG": "1", "LIST": "b,c", "TAG": "w", "PREFIX": "no"})
    assert shown["default"]["args"] == {"n": "8", "f": "on", "e": ""}
    assert shown["default"]["tags"] == ["x:p-w-b", "x:p-w-c"]
    assert planned(VARIABLES, environment={"LIST_JSON": '["q"]'})["default"]["tags"] == ["x:p-v1-q"]


@pytest.mark.parametrize(("name", "text"), [("N", "x"), ("FLAG", "maybe"), ("N", "2"), ("LIST_JSON", "{")])
def test_wrong_variables_are_named(name: str, text: str) -> None:
    with pytest.raises(InvalidDocument, match=name):
        planned(VARIABLES, environment={name: text})


def test_a_global_attribute_of_another_file_sets_a_variable() -> None:
    files = {"docker-bake.hcl": VARIABLES, "env.hcl": 'WHO = "me"\nTAG = "t-${WHO}"'}
    assert planned(files)["default"]["tags"] == ["x:p-t-me-a"]


def test_functions_of_the_file() -> None:
    text = """
function "tag" {
  params          = [name]
  variadic_params = rest
  result          = "${name}:${join("-", rest)}"
}
target "default" {
  tags = [tag("a", "b", "c")]
}
"""
    assert planned(text)["default"]["tags"] == ["a:b-c"]
    with pytest.raises(InvalidDocument, match="does not take 0 arguments"):
        planned(text.replace('tag("a", "b", "c")', "tag()"))


# targets

TARGETS = """
group "default" {
  targets = ["web", "db"]
}
target "_common" {
  args       = { A = "1", B = "2" }
  labels     = { x = "y" }
  tags       = ["common"]
  platforms  = ["linux/amd64"]
  cache-from = ["user/app:cache"]
}
target "web" {
  inherits   = ["_common"]
  context    = target.db.context
  args       = { B = "3", C = null }
  tags       = ["web:1", "", "web:1"]
  cache-from = [{ type = "local", src = "a,b" }]
  contexts   = { base = "target:db", gone = "" }
  output     = ["out", "type=docker"]
}
target "db" {
  context = "db"
  network = "host"
}
"""


def test_inheritance_and_links() -> None:
    shown = planned(TARGETS)
    assert list(shown) == ["db", "web"]
    web = shown["web"]
    assert web["args"] == {"A": "1", "B": "3"}
    assert web["tags"] == ["web:1"]
    assert web["cache-from"] == [
        {"ref": "user/app:cache", "type": "registry"},
        {"src": "a,b", "type": "local"},
    ]
    assert web["contexts"] == {"base": "target:db"}
    assert web["entitlements"] == shown["db"]["entitlements"] == ["network.host"]
    assert web["output"] == [{"dest": "out", "type": "local"}, {"type": "docker"}]
    assert "inherits" not in web
    assert web["context"] == "db"


def test_names_may_be_patterns() -> None:
    """Of targets and groups; a target is taken once, in the order of the alphabet."""
    from nacre.grammars.bake.plan import resolve

    text = 'target "app-b" {}\ntarget "app-a" {}\ntarget "z" {}\ngroup "app-g" {\n targets = ["z"]\n}\n'
    found = defined({"x.hcl": text})
    plan = resolve(found, ["app-?", "app-a"], ())
    assert list(plan.targets) == ["app-a", "app-b", "z"]
    assert plan.document()["group"]["default"] == {"targets": ["app-a", "app-b", "app-g"]}
    assert list(resolve(found, ["[x-z]"], ()).targets) == ["z"]
    with pytest.raises(NotFound, match=r"could not find any target matching 'no-\*'"):
        resolve(found, ["no-*"], ())


def test_what_is_linked_comes_first_and_is_not_asked_for() -> None:
    from nacre.grammars.bake.plan import resolve

    found = resolve(defined({"x.hcl": TARGETS}), ["web"], ())
    assert (list(found.targets), found.linked) == (["db", "web"], {"db"})
    assert resolve(defined({"x.hcl": TARGETS}), ["web", "db"], ()).linked == set()


def test_a_matrix() -> None:
    text = """
target "app" {
  matrix = { item = ["a", "b"], os = [{ n = "l" }] }
  name   = "app-${item}-${replace(os.n, ".", "")}"
  args   = { I = item }
}
"""
    shown = planned(text, "app")
    assert {name: each["args"] for name, each in shown.items()} == {
        "app-a-l": {"I": "a"},
        "app-b-l": {"I": "b"},
    }
    with pytest.raises(InvalidDocument, match="not all different"):
        planned(text.replace("${item}-", ""), "app")
    with pytest.raises(InvalidDocument, match="requires a matrix"):
        planned('target "default" {\n name = "x"\n}')


@pytest.mark.parametrize(
    ("key", "given", "attribute", "wanted"),
    [
        ("web.args.A", "9", "args", {"A": "9", "B": "3"}),
        ("*.tags", "t", "tags", ["t"]),
        ("web.platform", "a/b", "platforms", ["a/b"]),
        ("web.output", "type=tar,dest=x", "output", [{"dest": "x", "type": "tar"}]),
        ("web.no-cache", "true", "no-cache", True),
        ("web.context", "c", "context", "c"),
        ("web.labels.x", "z", "labels", {"x": "z"}),
        ("w?b.target", "t", "target", "t"),
        ("web.push", "true", "output", [{"dest": "out", "type": "local"}, {"type": "docker"}]),
        ("db.push", "true", None, None),
        ("web.secrets", "id=a,src=b", "secret", [{"id": "a", "src": "b"}]),
        ("web.contexts.base", "", "contexts", None),
    ],
)
def test_overrides(key: str, given: str, attribute: str | None, wanted: object) -> None:
    shown = planned(TARGETS, overrides=[(key, given)])
    if attribute:
        assert shown["web"].get(attribute) == wanted
    else:
        assert shown["db"]["output"] == [{"push": "true", "type": "image"}]


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("web", "x", "expected target.name"),
        ("nosuch.tags", "x", "could not find any target matching 'nosuch'"),
        ("web.zz", "x", "unknown key: zz"),
        ("web.args", "x", "args requires name"),
        ("web.pull", "x", "invalid value x"),
        ("web.tags", None, "expected target.name=value"),
        ("web.output", "a=b,c", "expected NAME=VALUE"),
    ],
)
def test_wrong_overrides(key: str, given: str | None, message: str) -> None:
    with pytest.raises((UsageError, NotFound)) as error:
        planned(TARGETS, overrides=[(key, given)])
    assert message in error.value.message


def test_wrong_files() -> None:
    with pytest.raises(NotFound, match="failed to find target nope"):
        planned(TARGETS, "nope")
    with pytest.raises(InvalidDocument, match="made from itself"):
        planned('target "default" {\n contexts = { a = "target:default" }\n}')
    with pytest.raises(InvalidDocument, match="invalid name"):
        planned('target "a b" {}')
    with pytest.raises(InvalidDocument, match=r"x\.hcl:2:3: a stands twice"):
        defined({"x.hcl": "\n  a = 1\n  a = 2\n"} | {"x.hcl": "a = 1\n  a = 2\n"})
    with pytest.raises(InvalidDocument, match="more than 1048576 bytes"):
        hcl.parse(b" " * (hcl.MOST + 1), "x.hcl")


def test_what_nobody_knows_is_told() -> None:
    assert defined({"x.hcl": 'target "a" {\n foo = 1\n}\nblock "x" {}'}).unknown == [
        "x.hcl: block",
        "target a: foo",
    ]


def test_json_is_the_same() -> None:
    document = {
        "variable": {"TAG": {"default": "v1"}},
        "group": {"default": {"targets": ["a"]}},
        "target": {
            "a": {
                "tags": ["x:${TAG}"],
                "args": {"${TAG}": '${TAG == "v1" ? "yes" : "no"}', "n": 1, "z": None},
            }
        },
    }
    assert planned({"b.json": json.dumps(document)})["a"]["args"] == {"v1": "yes", "n": "1"}


# compose

COMPOSE = """
x-args: &args
  A: ${A:-one}
services:
  web.x:
    image: web:${T:-latest}
    build:
      context: dir
      args: {<<: *args, B: null, C: null}
      x-bake: {platforms: linux/amd64 linux/arm64, output: "type=docker", contexts: {o: docker-image://x}}
      additional_contexts: {base: "service:db"}
      secrets: [s, {source: t, target: x}]
      ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}
      extra_hosts: ["a:1.2.3.4", "b=::1"]
      ssh: [default]
      provenance: false
  db:
    build: ./db
  cache:
    image: redis
secrets:
  s: {file: ./s.txt}
  t: {environment: TOKEN}
"""


def test_compose() -> None:
    shown = planned({"compose.yaml": COMPOSE}, environment={"B": "env", "T": "9"})
    web = shown["web_x"]
    assert web["args"] == {"A": "one", "B": "env"}
    assert web["tags"] == ["web:9"]
    assert web["platforms"] == ["linux/amd64", "linux/arm64"]
    assert web["contexts"] == {"base": "target:db", "o": "docker-image://x"}
    assert web["secret"] == [{"id": "s", "src": "./s.txt"}, {"env": "TOKEN", "id": "t"}]
    assert web["ulimits"] == ["nproc=5", "nofile=1:2"]
    assert web["extra-hosts"] == {"a": "1.2.3.4", "b": "::1"}
    assert web["attest"] == [{"disabled": "true", "type": "provenance"}]
    assert list(shown) == ["db", "web_x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: [a]", "services is not an object"),
        ("services: {a: {build: {context: '${X:?must}'}}}", "X is required: must"),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\n"
            + "".join(
                f"{chr(99 + n)}: &{chr(99 + n)} [{', '.join(['*' + chr(98 + n)] * 9)}]\n" for n in range(9)
            ),
            "more than",
        ),
        ("services: {a: {build: {secrets: [s]}}}\nsecrets: {s: {external: true}}", "external secret s"),
        ("services: {a: {build: {x-bake: {foo: 1}}}}", "x-bake.foo is not known"),
        ("{", "not valid YAML"),
        ("services: {a: {extends: b, build: .}}", "extends is not supported"),
    ],
)
def test_wrong_compose_files(text: str, message: str) -> None:
    with pytest.raises(NacreError) as error:
        planned({"compose.yaml": text})
    assert message in error.value.message


def test_a_file_over_another() -> None:
    files = {
        "compose.yaml": "services: {a: {build: {context: x, tags: [p]}}}",
        "o.yml": "services: {a: {build: {context: y, tags: [q]}}}",
    }
    shown = planned(files | {"docker-bake.hcl": 'target "a" {\n args = { K = "v" }\n}'})["a"]
    assert (shown["context"], shown["tags"], shown["args"]) == ("y", ["p", "q"], {"K": "v"})
