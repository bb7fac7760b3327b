"""Dockerfiles from short descriptions: an instruction, how it is written, and what it has to be read as.

A `Form` says what an instruction is; `write` writes it down in one of many ways that mean the same, and gives
the node that must come of it. Rules: Dockerfile reference, "Format", "Escape", "Shell and exec form".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

Shown = tuple[str, tuple[str, ...], tuple[str, ...], "Shown | None"]
"""A node: its name in small letters, flags, arguments, and the instruction that ONBUILD keeps."""


class Gap(NamedTuple):
    """What stands between two words, `@` for the escape character, and the blanks that are left of it."""

    written: str
    means: str


GAPS = {
    "a blank": Gap(" ", " "),
    "a tab": Gap("\t", "\t"),
    "blanks": Gap("   ", "   "),
    "a continuation": Gap(" @\n", " "),
    "an indented continuation": Gap(" @\n   ", "    "),
    "a continuation without a blank before": Gap("@\n ", " "),
    "blanks after the escape": Gap(" @ \t\n", " "),
    "two continuations": Gap(" @\n @\n", "  "),
    "continuations with nothing in them": Gap(" @\n@\n@\n", " "),
    "a comment": Gap(" @\n# a note @\n", " "),
    "an indented comment": Gap(" @\n  \t# a note\n", " "),
    "two comments": Gap(" @\n#\n# it's \"a\" note\n", " "),
    "an empty line": Gap(" @\n\n", " "),
    "comments and empty lines": Gap(" @\n\n# a\n\n# b\n  ", "   "),
}  # fmt: skip


class Form(NamedTuple):
    """An instruction: the words after its name, and what they are read as when `gap` stands between them.

    `@` in a word is the escape character.
    """

    name: str
    words: tuple[str, ...]
    args: Callable[[str], tuple[str, ...]]
    child: Form | None = None


class Style(NamedTuple):
    """How a form is written down. `case` changes the name, `end` ends a line, `escape` is declared."""

    gap: Gap = GAPS["a blank"]
    flags: tuple[tuple[str, str], ...] = ()
    case: Callable[[str], str] = str.upper
    indent: str = ""
    trail: str = ""
    end: str = "\n"
    escape: str = "\\"
    last: bool = False


def words(name: str, *items: str) -> Form:
    """Words that blanks divide, with their quotes."""
    return Form(name, items, lambda _gap: items)


def text(name: str, *items: str) -> Form:
    """All that follows is one argument, blanks included."""
    return Form(name, items, lambda gap: (gap.join(items),))


def array(name: str, *items: str, tight: bool = False) -> Form:
    """A JSON array, with gaps around its elements unless it is `tight`."""
    written = [json.dumps(item) for item in items]
    if tight:
        return Form(name, ("[" + ",".join(written) + "]",), lambda _gap: items)
    inner = [item + "," for item in written[:-1]] + written[-1:]
    return Form(name, ("[", *inner, "]"), lambda _gap: items)


def pairs(name: str, *items: tuple[str, str]) -> Form:
    """`name=value`, as often as wanted."""
    args = tuple(piece for key, value in items for piece in (key, value, "="))
    return Form(name, tuple(f"{key}={value}" for key, value in items), lambda _gap: args)


def old_pair(name: str, key: str, *items: str) -> Form:
    """`name value`, where the value is all that follows."""
    return Form(name, (key, *items), lambda gap: (key, gap.join(items), ""))


def health(kind: str, inner: Form | None = None) -> Form:
    """HEALTHCHECK: a kind, then a command in either form."""
    if inner is None:
        return Form("healthcheck", (kind,), lambda _gap: (kind,))
    return Form("healthcheck", (kind, *inner.words), lambda gap: (kind, *inner.args(gap)))


def trigger(inner: Form) -> Form:
    """ONBUILD and what it keeps."""
    return Form("onbuild", (inner.name.upper(), *inner.words), inner.args, inner)


def write(form: Form, style: Style) -> tuple[str, Shown]:
    """The instruction as text, and what it is read as."""
    written = [style.case(form.name), *(flag for flag, _ in style.flags), *form.words]
    line = style.indent + style.gap.written.join(written) + style.trail + ("" if style.last else "\n")
    read = tuple(meant for _, meant in style.flags if meant)
    shown = _shown(form, style, read)
    return line.replace("@", style.escape).replace("\n", style.end), shown


def _shown(form: Form, style: Style, flags: tuple[str, ...]) -> Shown:
    args = tuple(arg.replace("@", style.escape) for arg in form.args(style.gap.means))
    if form.child:
        return form.name, flags, (), _shown(form.child, style, ())
    return form.name, flags, args, None


FORMS = [
    words("from", "base"), words("from", "base:1.2", "AS", "stage"), words("from", "host.x:5000/a/b"),
    words("arg", "name"), words("arg", "name=value"),
    words("arg", "a", "b=1", 'c="x y"', "d='x y'", "e=x@ y"),
    words("copy", "one", "/to"), words("copy", "one", "two*", "../three", "/to/"),
    words("copy", "a@@b@\"", "/to"),
    words("add", "https://host.x/a?b=c#d", "/to"), words("add", "[odd", "/to"),
    words("add", '"quoted', 'name"', "/"),
    words("volume", "/data"), words("volume", "/one", "/two", "/three"),
    words("expose", "80"), words("expose", "80/tcp", "8000-8010/udp", "$PORT"),
    text("run", "true"), text("run", "echo", '"a  b"', "'c  d'", "&&", "e=$f", "|", "g"),
    text("run", "a@b", "@c"),
    text("run", "[", "-e", "/x", "]"), text("run", "['single']"), text("run", '["open",', '"end"'),
    text("run", '["two"]', '["arrays"]'), text("run", '"[@"quoted@"]"'), text("run", "[bare]"),
    text("cmd", "serve", "--port", "80"), text("entrypoint", "exec", "top", "-b"), text("shell", "bash"),
    text("workdir", "/a", "b"), text("user", "name:group"), text("stopsignal", "SIGTERM"),
    text("maintainer", "A", "Person", "<person>"),
    array("cmd"), array("cmd", tight=True), array("cmd", ""), array("cmd", "a", "b c", "d'e"),
    array("cmd", "tight", "array", tight=True), array("entrypoint", "/bin/x", "-y"), array("run", "one"),
    array("shell", "/bin/sh", "-c"), array("volume", "/with blank", "/b"), array("copy", "a b", "/to"),
    array("add", "x", "y", "/to here"),
    array("run", 'quote"', "back\\slash", "tab\t", "new\nline", "\u2192 \U0001f40c"),
    array("run", "slash/", "\0", "\x1f", "\x7f", "\b\f\r"),
    pairs("env", ("a", "1")), pairs("env", ("a", "1"), ("b", '"x y"'), ("c", "'x \"y\"'"), ("d", "x@ y")),
    pairs("env", ("a", ""), ("b", "=c=d"), ("e", "$a/${b:-c}")),
    pairs("label", ("k.with/parts", '"v"'), ("l", "w")),
    pairs("env", ("q", '"say @"it@""'), ("r", '"it\'s"'), ("s", "it@'s"), ("t", '"a@nb@@"')),
    old_pair("env", "name", "value"), old_pair("env", "name", "a", "b=c", '"d"'),
    old_pair("label", "name", "x", "<y>"),
    health("NONE"), health("CMD"), health("CMD", text("cmd", "curl", "-f", "x")),
    health("CMD", array("cmd", "a", "b")),
    health("OTHER", text("cmd", "tcp", "80")),
    trigger(text("run", "make", "all")), trigger(array("run", "make")), trigger(words("copy", ".", "/src")),
    trigger(pairs("env", ("a", "b"), ("c", "d"))), trigger(health("CMD", text("cmd", "x", "y"))),
]  # fmt: skip

FLAGS: dict[str, tuple[tuple[str, str], ...]] = {
    "one": (("--a=b", "--a=b"),),
    "two": (("--a", "--a"), ("--b-c=d/e", "--b-c=d/e")),
    "an end of flags": (("--a=b", "--a=b"), ("--", "")),
    "nothing but the end of flags": (("--", ""),),
    "quotes": (('--a="b c"', "--a=b c"), ("--d='e \"f\"'", '--d=e "f"')),
    "escapes": (("--a=b@ c", "--a=b c"), ("--d=@@", "--d=@")),
}
STYLES: dict[str, Style] = {f"with {name} between words": Style(gap) for name, gap in GAPS.items()}
STYLES |= {f"{name}, ` escapes": Style(gap, escape="`") for name, gap in GAPS.items() if "@" in gap.written}
STYLES |= {f"{name}, CRLF": Style(gap, end="\r\n") for name, gap in GAPS.items() if "\n" in gap.written}
STYLES |= {f"with flags: {name}": Style(flags=flags) for name, flags in FLAGS.items()}
STYLES |= {f"with flags: {name}, continued": Style(GAPS["a comment"], flags) for name, flags in FLAGS.items()}
STYLES |= {
    "small letters": Style(case=str.lower),
    "mixed letters": Style(case=lambda name: name[:1] + name[1:].upper()),
    "indented": Style(indent="  "), "indented by a tab": Style(indent="\t"),
    "blanks at the end": Style(trail=" \t "),
    "CRLF": Style(end="\r\n"), "without an end of line": Style(last=True),
    "with an escape before the end of the file": Style(trail=" @", last=True),
    "with a continuation before the end of the file": Style(trail=" @\n", last=True),
}  # fmt: skip
