"""Expressions of bake files: what they are worth.

Source: HCL native syntax specification, "Expressions" and "Templates".
"""

from __future__ import annotations

from ...words.errors import InvalidDocument
from . import lists, values
from .functions import call as call_function
from .hcl import MOST, Expression, SourcePlace, expression, place_of
from .template import dedented, quoted, unescaped
from .values import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

_MISSING = object()
_LITERALS = {"true": True, "false": False, "null": None}


class Scope:
    """What names mean: `variable` and `function` are asked for those that are not in `names`.

    Both raise BadValue for a name that they do not know; a function gets its arguments evaluated.
    """

    def __init__(
        self, variable: Callable[[str], Any], function: Callable[[str], Callable[..., Any] | None],
        names: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.variable, self.function, self.names = variable, function, dict(names or {})

    def child(self, **names: Any) -> Scope:
        """The same, with more names."""
        return Scope(self.variable, self.function, {**self.names, **names})

    def get(self, name: str) -> Any:
        """The value of a name."""
        found = self.names.get(name, _MISSING)
        return self.variable(name) if found is _MISSING else found


def evaluate(given: Expression, scope: Scope) -> Any:
    """The value of an expression. Raises InvalidDocument, which names the place."""
    try:
        return _evaluated(given, scope)
    except RecursionError:
        raise given.place.wrong("the expression is nested too deeply, or refers to itself") from None


def _evaluated(given: Expression, scope: Scope) -> Any:
    items = given.items()
    if isinstance(items, list):
        return [_evaluated(item, scope) for item in items]
    if items is not None:
        keys = {name: _evaluated(Expression(given.place, name), scope) for name in items}
        return {_key(keys[name], given.place): _evaluated(item, scope) for name, item in items.items()}
    tree = given.tree
    return _Evaluator(given.place, scope).value(tree) if hasattr(tree, "data") else tree


def _key(value: Any, place: SourcePlace) -> str:
    try:
        return values.text(value)
    except BadValue as error:
        raise place.wrong(str(error)) from None


def _parts(tree: Any) -> list[Any]:
    """The subtrees that say something."""
    return [
        child
        for child in tree.children
        if getattr(child, "data", "new_line_or_comment") != "new_line_or_comment"
    ]


class _Evaluator:
    """One expression in one scope."""

    def __init__(self, place: SourcePlace, scope: Scope, *, is_within: bool = False) -> None:
        """`is_within`: the tree is of a template whose characters stand elsewhere in the file."""
        self._place, self._scope, self._is_within = place, scope, is_within

    def value(self, tree: Any) -> Any:
        """What a tree is worth. Raises InvalidDocument."""
        kind = _KINDS.get(tree.data)
        if kind is None:
            raise self._at(tree).wrong(f"{str(tree.data).replace('_', ' ')} is not supported")
        try:
            return kind(self, tree)
        except BadValue as error:
            raise self._at(tree).wrong(str(error)) from None

    def _at(self, tree: Any) -> SourcePlace:
        found = place_of(tree, self._place.file)
        return found if found.line and not self._is_within else self._place

    def _with(self, **names: Any) -> _Evaluator:
        return _Evaluator(self._place, self._scope.child(**names), is_within=self._is_within)

    # literals

    def term(self, tree: Any) -> Any:
        """One operand, perhaps in parentheses."""
        return self.value(_parts(tree)[0])

    def integer(self, tree: Any) -> Any:
        """A number without a fraction."""
        return int(tree.children[0])

    def real(self, tree: Any) -> Any:
        """Digits with a fraction or an exponent."""
        return values.plain(float(tree.children[0]))

    def literal(self, tree: Any) -> Any:
        """One of true, false and null."""
        return _LITERALS[str(tree.children[0])]

    def identifier(self, tree: Any) -> Any:
        """What a name means in this scope."""
        return self._scope.get(str(tree.children[0]))

    def sequence(self, tree: Any) -> Any:
        """The elements in square brackets."""
        return [self.value(part) for part in _parts(tree)]

    def object(self, tree: Any) -> Any:
        """The members in braces, by key."""
        found = {}
        for element in _parts(tree):
            name, content = _parts(element)
            found[self._object_key(name)] = self.value(content)
        return found

    def _object_key(self, tree: Any) -> str:
        """A bare word is itself, in parentheses it is a variable."""
        inner = tree.children[0]
        if inner.data == "keyword":
            return str(inner.children[0])
        first = inner.children[0]
        if inner.data == "expr_term" and getattr(first, "data", "") == "identifier":
            return str(first.children[0])
        return values.text(self.value(inner))

    # templates

    def string(self, tree: Any) -> Any:
        """In quotes; one that is only `${…}` is worth what is inside."""
        parts = [part.children[0] for part in _parts(tree)]
        if len(parts) == 1 and getattr(parts[0], "data", "") == "interpolation":
            return self.value(_parts(parts[0])[0])
        return _Template(self, parts).render()

    def heredoc(self, tree: Any) -> Any:
        """<<WORD, and <<-WORD without the white space that all lines begin with."""
        head, *lines = str(tree.children[0]).replace("\r\n", "\n").rstrip("\n").split("\n")
        content = "".join(line + "\n" for line in lines[:-1])
        return self._of_text(dedented(content) if head.startswith("<<-") else content, tree)

    def _of_text(self, template: str, tree: Any) -> str:
        place = self._at(tree)
        inner = _Evaluator(place, self._scope, is_within=True)
        return values.text(inner.value(expression(quoted(template), place)))

    # operators

    def conditional(self, tree: Any) -> Any:
        """Only the branch that is taken is evaluated."""
        condition, first, second = _parts(tree)
        return self.value(first if values.truth(self.value(condition)) else second)

    def unary(self, tree: Any) -> Any:
        """A minus sign or an exclamation mark before a term."""
        found = self.value(_parts(tree)[0])
        return not values.truth(found) if tree.children[0] == "!" else -values.number(found)

    def binary(self, tree: Any) -> Any:
        """Both sides, but for && and || as far as needed."""
        left, (operator, right) = self.value(tree.children[0]), _parts(tree.children[1])
        sign = str(operator.children[0])
        if sign in ("&&", "||"):
            first = values.truth(left)
            return values.truth(self.value(right)) if first == (sign == "&&") else first
        return call_function(_OPERATORS[sign], [left, self.value(right)])

    # access

    def function(self, tree: Any) -> Any:
        """A call; `try` and `can` see their arguments fail."""
        name, *rest = _parts(tree)
        word = str(name.children[0])
        if len(rest) > 1:
            raise BadValue(f"there is no function named {word!r} in a namespace")
        arguments = _parts(rest[0]) if rest else []
        if word in ("try", "can"):
            return self._tried(word, arguments)
        given = [self.value(argument) for argument in arguments]
        if rest and any(child == "..." for child in rest[0].children):
            given += values.listed(given.pop())
        own = self._scope.function(word)
        return own(*given) if own else call_function(word, given)

    def _tried(self, word: str, arguments: list[Any]) -> Any:
        for argument in arguments:
            try:
                found = self.value(argument)
            except InvalidDocument:
                continue
            return True if word == "can" else found
        if word == "can":
            return False
        raise BadValue("no argument of try() has a value")

    def index(self, tree: Any) -> Any:
        """A member: LIST[0], OBJECT["name"], LIST.0, OBJECT.name."""
        inner, step = _parts(tree)
        return self._step(self.value(inner), step)

    def splat(self, tree: Any) -> Any:
        """LIST[*].name: for each element; null is an empty list, all else a list of one."""
        inner, steps = _parts(tree)
        whole = self.value(inner)
        elements = whole if isinstance(whole, list) else [] if whole is None else [whole]
        for step in _parts(steps):
            elements = [self._step(element, step) for element in elements]
        return elements

    def _step(self, whole: Any, step: Any) -> Any:
        if step.data == "get_attr":
            return _member(whole, str(_parts(step)[0].children[0]))
        if step.data == "short_index":
            return _member(whole, int(step.children[-1]))
        return _member(whole, self.value(_parts(step)[0]))

    # for

    def for_tuple(self, tree: Any) -> Any:
        """[for x in LIST : VALUE if CONDITION]"""
        intro, content, *condition = _parts(tree)
        return [inner.value(content) for inner in self.each(intro, condition)]

    def for_object(self, tree: Any) -> Any:
        """{for k, v in OBJECT : KEY => VALUE if CONDITION}, with `…` a list for each key."""
        intro, name, content, *condition = _parts(tree)
        is_grouped = any(child == "..." for child in tree.children)
        found: dict[str, Any] = {}
        for inner in self.each(intro, condition):
            key, value = values.text(inner.value(name)), inner.value(content)
            if is_grouped:
                found.setdefault(key, []).append(value)
            elif key in found:
                raise BadValue(f"the key {key!r} comes twice")
            else:
                found[key] = value
        return found

    def each(self, intro: Any, condition: list[Any]) -> Iterator[_Evaluator]:
        """One for each element for which the condition holds, with the names of that element."""
        *names, source = _parts(intro)
        words = [str(name.children[0]) for name in names]
        for pair in _pairs(self.value(source)):
            inner = self._with(**dict(zip(words, pair if len(words) > 1 else pair[1:], strict=True)))
            if not condition or values.truth(inner.value(_parts(condition[0])[0])):
                yield inner


def _pairs(whole: Any) -> list[tuple[Any, Any]]:
    if isinstance(whole, dict):
        return [(name, whole[name]) for name in sorted(whole)]
    return list(enumerate(values.listed(whole)))


def _member(whole: Any, key: Any) -> Any:
    """Of a list or an object, or of what answers for itself, like `target.app`."""
    own = getattr(whole, "member", None)
    return own(values.text(key)) if own else lists.member(whole, key)


class _Template:
    """The parts of a string in quotes, with `%{if}` and `%{for}` among them."""

    def __init__(self, evaluator: _Evaluator, parts: list[Any]) -> None:
        self._evaluator, self._parts = evaluator, parts

    def render(self) -> str:
        """The whole. Raises BadValue."""
        text, at = self._until(self._evaluator, 0, ())
        if at < len(self._parts):
            raise BadValue("a directive ends what was not begun")
        return text

    def _until(self, evaluator: _Evaluator, at: int, ends: tuple[str, ...]) -> tuple[str, int]:
        """The text to one of `ends`, and the place of that."""
        out: list[str] = []
        size = 0
        while at < len(self._parts) and getattr(self._parts[at], "data", "") not in (*ends, *_ENDS):
            piece, at = self._piece(evaluator, at)
            out.append(piece)
            size += len(piece)
            if size > MOST:
                raise BadValue(f"a string of more than {MOST} characters")
        if ends and at >= len(self._parts):
            raise BadValue("a directive has no end")
        return "".join(out), at

    def _piece(self, evaluator: _Evaluator, at: int) -> tuple[str, int]:
        part = self._parts[at]
        word = getattr(part, "data", "")
        if word == "interpolation":
            return values.text(evaluator.value(_parts(part)[0])), at + 1
        if word == "template_if_start":
            return self._if(evaluator, at)
        if word == "template_for_start":
            return self._for(evaluator, at)
        return self._literal(at), at + 1

    def _literal(self, at: int) -> str:
        """Characters, without the white space that `~` beside them takes away."""
        token = self._parts[at]
        text = unescaped(str(token)[1:] if token.type.startswith("ESCAPED") else str(token))
        if at and _strips(self._parts[at - 1], -2):
            text = text.lstrip()
        if at + 1 < len(self._parts) and _strips(self._parts[at + 1], 1):
            text = text.rstrip()
        return text

    def _if(self, evaluator: _Evaluator, at: int) -> tuple[str, int]:
        condition = values.truth(evaluator.value(_parts(self._parts[at])[0]))
        first, at = self._branch(
            evaluator if condition else None, at + 1, ("template_else", "template_endif")
        )
        second = ""
        if self._parts[at].data == "template_else":
            second, at = self._branch(None if condition else evaluator, at + 1, ("template_endif",))
        return first + second, at + 1

    def _branch(self, evaluator: _Evaluator | None, at: int, ends: tuple[str, ...]) -> tuple[str, int]:
        """What stands there, or its end alone where it is not taken."""
        if evaluator is not None:
            return self._until(evaluator, at, ends)
        depth = 0
        while at < len(self._parts):
            word = getattr(self._parts[at], "data", "")
            if not depth and word in ends:
                return "", at
            depth += word in ("template_if_start", "template_for_start")
            depth -= word in ("template_endif", "template_endfor")
            at += 1
        raise BadValue("a directive has no end")

    def _for(self, evaluator: _Evaluator, at: int) -> tuple[str, int]:
        intro = self._parts[at]
        out, end = [], self._branch(None, at + 1, ("template_endfor",))[1]
        for inner in evaluator.each(intro, []):
            out.append(self._until(inner, at + 1, ("template_endfor",))[0])
        return "".join(out), end + 1


def _strips(part: Any, at: int) -> bool:
    """Whether a directive has `~` at its child `at`."""
    children = getattr(part, "children", ())
    return len(children) > 2 and getattr(children[at], "type", "") == "STRIP_MARKER"


_ENDS = ("template_else", "template_endif", "template_endfor")
_OPERATORS = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "modulo", "==": "equal",
    "!=": "notequal", "<": "lessthan", ">": "greaterthan", "<=": "lessthanorequalto",
    ">=": "greaterthanorequalto",
}  # fmt: skip
_KINDS: Mapping[str, Callable[[_Evaluator, Any], Any]] = {
    "expr_term": _Evaluator.term,
    "int_lit": _Evaluator.integer,
    "float_lit": _Evaluator.real,
    "literal_value": _Evaluator.literal,
    "identifier": _Evaluator.identifier,
    "string": _Evaluator.string,
    "heredoc_template": _Evaluator.heredoc,
    "heredoc_template_trim": _Evaluator.heredoc,
    "tuple": _Evaluator.sequence,
    "object": _Evaluator.object,
    "conditional": _Evaluator.conditional,
    "unary_op": _Evaluator.unary,
    "binary_op": _Evaluator.binary,
    "function_call": _Evaluator.function,
    "index_expr_term": _Evaluator.index,
    "get_attr_expr_term": _Evaluator.index,
    "attr_splat_expr_term": _Evaluator.splat,
    "full_splat_expr_term": _Evaluator.splat,
    "for_tuple_expr": _Evaluator.for_tuple,
    "for_object_expr": _Evaluator.for_object,
}
