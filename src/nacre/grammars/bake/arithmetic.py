"""Functions of numbers and truth in bake files. Source: go-cty, function/stdlib."""

from __future__ import annotations

import math

from .values import BadValue, equal, number, plain, text, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_MOST_BITS = 4096


def _small(value: int | float) -> int | float:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise BadValue(f"a number of more than {_MOST_BITS} bits")
    return plain(value)


def _divide(one: Any, other: Any) -> int | float:
    divisor = number(other)
    if not divisor:
        raise BadValue("division by zero")
    above = number(one)
    if isinstance(above, int) and isinstance(divisor, int) and above % divisor == 0:
        return above // divisor
    return plain(above / divisor)


def _modulo(one: Any, other: Any) -> int | float:
    """With the sign of the first, as in Go."""
    divisor = number(other)
    if not divisor:
        raise BadValue("division by zero")
    above = number(one)
    rest = abs(above) % abs(divisor)
    return plain(-rest if above < 0 else rest)


def _power(base: Any, exponent: Any) -> int | float:
    below, above = number(base), number(exponent)
    if isinstance(below, int) and abs(above) * below.bit_length() > _MOST_BITS:
        raise BadValue(f"a number of more than {_MOST_BITS} bits")
    return plain(below**above)


def _logarithm(value: Any, base: Any) -> int | float:
    return plain(math.log(number(value)) / math.log(number(base)))


def _parse_int(value: Any, base: Any) -> int:
    return int(text(value), int(number(base)))


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def function(*given: Any) -> Any:
        if not given:
            raise BadValue("at least one number is required")
        return choose(map(number, given))

    return function


def _sign(value: Any) -> int:
    found = number(value)
    return (found > 0) - (found < 0)


TABLE: Mapping[str, Callable[..., Any]] = {
    "absolute": lambda value: abs(number(value)),
    "add": lambda one, other: _small(number(one) + number(other)),
    "subtract": lambda one, other: _small(number(one) - number(other)),
    "multiply": lambda one, other: _small(number(one) * number(other)),
    "divide": _divide,
    "modulo": _modulo,
    "negate": lambda value: -number(value),
    "pow": _power,
    "log": _logarithm,
    "ceil": lambda value: math.ceil(number(value)),
    "floor": lambda value: math.floor(number(value)),
    "int": lambda value: int(number(value)),
    "signum": _sign,
    "parseint": _parse_int,
    "max": _extreme(max),
    "min": _extreme(min),
    "and": lambda one, other: truth(one) and truth(other),
    "or": lambda one, other: truth(one) or truth(other),
    "not": lambda value: not truth(value),
    "equal": equal,
    "notequal": lambda one, other: not equal(one, other),
    "lessthan": lambda one, other: number(one) < number(other),
    "lessthanorequalto": lambda one, other: number(one) <= number(other),
    "greaterthan": lambda one, other: number(one) > number(other),
    "greaterthanorequalto": lambda one, other: number(one) >= number(other),
}
