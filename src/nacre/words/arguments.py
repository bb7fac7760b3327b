"""Arguments of the Python API, looked at before anything is done with them.

`checked` reads the annotations of a function, so that what its signature says is what it takes: a str is no
Sequence[str], None is no str, and a path may be an os.PathLike. Raises UsageError, which names the argument.
"""

from __future__ import annotations

import os

from .errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, whose arguments have the types of its annotations (see READERS)."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    readers: dict[str, Callable[[str, Any], Any]] = {}

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if not readers:  # looked up at the first call: a start has many of these functions and calls few
            readers.update(
                {name: READERS[function.__annotations__[name]] for name in names if name != "self"}
            )
        given = [_read(readers, name, value) for name, value in zip(names, args, strict=False)]
        rest = args[len(given) :]
        named = {name: _read(readers, name, value) for name, value in kwargs.items()}
        return function(*given, *rest, **named)  # type: ignore[arg-type]

    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        setattr(call, name, getattr(function, name))
    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def _read(readers: dict[str, Callable[[str, Any], Any]], name: str, value: Any) -> Any:
    return readers[name](name, value) if name in readers else value


def _wrong(name: str, wanted: str, value: object) -> UsageError:
    return UsageError(f"{name} must be {wanted}, not {type(value).__name__}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "a str", value)
    if "\0" in value:
        raise UsageError(f"{name} has a NUL character: {value[:100]!r}")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not text: {value[:100]!r}") from None
    return value


def _path(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fsdecode(value)
    if not isinstance(value, str):
        raise _wrong(name, "a str or a path", value)
    return _text(name, value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)
    return value


def _number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "an int", value)
    return value


def _data(name: str, value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise _wrong(name, "bytes", value)
    return bytes(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    from collections.abc import Sequence

    if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray | memoryview):
        raise _wrong(name, "a sequence of str", value)
    return tuple(_text(f"each of {name}", item) for item in value)


def _pairs(name: str, value: Any) -> dict[str, str]:
    from collections.abc import Mapping

    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping of str", value)
    return {
        _text(f"each name in {name}", key): _text(f"{name}[{key!r}]", item) for key, item in value.items()
    }


def _value(kind: str, *, text: bool = False) -> Callable[[str, Any], Any]:
    """A reader of values of a class of another floor, known by its name; a text may stand for one."""

    def read(name: str, value: Any) -> Any:
        if text and isinstance(value, str):
            return _text(name, value)
        if type(value).__name__ != kind:
            raise _wrong(name, f"a str or a {kind}" if text else f"a {kind}", value)
        return value

    return read


def _platform(name: str, value: Any) -> Any:
    from .oci import Platform

    if isinstance(value, str):
        return Platform.parse(value)
    if not isinstance(value, Platform):
        raise _wrong(name, "a Platform", value)
    return value


def _platforms(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_platform(f"each of {name}", item) for item in value]
    return _optional(_platform)(name, value)


def _progress(name: str, value: Any) -> Any:
    if not callable(getattr(value, "task", None)):
        raise _wrong(name, "a Progress", value)
    return value


def _optional(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _tell(name: str, value: Any) -> Any:
    if not callable(value):
        raise _wrong(name, "something to call", value)
    return value


def _stream(method: str) -> Callable[[str, Any], Any]:
    """A reader for a path, or a file that has `method`."""

    def read(name: str, value: Any) -> Any:
        return value if callable(getattr(value, method, None)) else _path(name, value)

    return read


def _streams(name: str, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a sequence of paths or files", value)
    return [_stream("read")(f"each of {name}", item) for item in value]


def _values(kind: str, what: str) -> Callable[[str, Any], Any]:
    """A reader of one or more values of a class of another floor."""

    def read(name: str, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise _wrong(name, f"a sequence of {what}", value)
        return [_value(kind)(f"each of {name}", item) for item in value]

    return read


def _predicates(name: str, value: Any) -> Any:
    if not isinstance(value, list | tuple) or not all(isinstance(each, list | tuple) for each in value):
        raise _wrong(name, "a sequence of sequences of predicates", value)
    read = _value("Predicate")
    return [[read(f"each of {name}", item) for item in each] for each in value]


def _names(name: str, value: Any) -> Any:
    from .reference import Reference

    if all(isinstance(item, Reference) for item in value) if isinstance(value, list | tuple) else False:
        return value
    return _texts(name, value)


READERS: dict[str, Callable[[str, Any], Any]] = {
    "str": _text,
    "AnyPath": _path,
    "Tell | None": _optional(_tell),
    "Target": _stream("write"),
    "Origin": _stream("read"),
    "Sequence[Origin]": _streams,
    "Definition": _value("Definition"),
    "BakePlan": _value("BakePlan"),
    "BuildOptions | None": _optional(_value("BuildOptions")),
    "Sequence[Name]": _names,
    "Name": _value("Reference", text=True),
    "AnyPlace": _value("Place", text=True),
    "Config": _value("Config"),
    "BuildOutput": _value("BuildOutput"),
    "Sequence[Image]": _values("Image", "images"),
    "Sequence[BakeTarget]": _values("BakeTarget", "targets"),
    "Sequence[Sequence[Predicate]]": _predicates,
    "NetworkSettings | None": _optional(_value("NetworkSettings")),
    "bool": _flag,
    "int": _number,
    "int | None": _optional(_number),
    "bytes": _data,
    "Sequence[str]": _texts,
    "Mapping[str, str] | None": _optional(_pairs),
    "Platform | None": _optional(_platform),
    "Platforms": _platforms,
    "Progress | None": _optional(_progress),
}
"""How an argument is read, by its annotation."""
