"""Immutable values without `dataclasses`.

`dataclasses` and `typing` together cost 14 ms of imports, more than a third of what `nacre run` may
take, so the words are built on this class: annotated fields become constructor arguments, class
attributes are their defaults, instances compare, hash and print by their fields.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options):  # noqa: D103
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """Base of every immutable value. Defaults must themselves be immutable.

    A subclass may define `_check(self)`; it runs after the fields are set and raises when they make
    no sense together.
    """

    _fields: ClassVar[tuple[str, ...]] = ()
    _needed: ClassVar[tuple[str, ...] | None] = ()

    def __init_subclass__(cls) -> None:
        cls._needed = None  # most classes are not used by most commands
        own = cls.__dict__.get("__annotations__")  # noqa: RUF063
        if own:
            fields = cls._fields
            cls._fields = (*fields, *[name for name in own if name[0] != "_" and name not in fields])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields, given = self._fields, self.__dict__
        if len(args) > len(fields):
            raise TypeError(f"{type(self).__name__} takes {len(fields)} fields, got {len(args)}")
        given.update(zip(fields, args, strict=False))
        for name, value in kwargs.items():
            if name not in fields or name in given:
                raise TypeError(f"{type(self).__name__} got an unexpected or repeated {name!r}")
            given[name] = value
        needed = self._needed
        if needed is None:
            needed = type(self)._needed = tuple(name for name in fields if not hasattr(type(self), name))
        for name in needed:
            if name not in given:
                raise TypeError(f"{type(self).__name__} needs {name!r}")
        self._check()

    def _check(self) -> None:
        """Raise when the fields make no sense together."""

    def _astuple(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._astuple() == other._astuple()

    def __hash__(self) -> int:
        return hash((type(self), self._astuple()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({shown})"

    def replace(self, **changes: Any) -> Self:
        """A new value of the same type with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})
