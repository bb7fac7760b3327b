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
    _known: ClassVar[frozenset[str] | None] = frozenset()
    _needed: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        cls._known = None  # most classes are not used by most commands
        own = cls.__dict__.get("__annotations__")  # noqa: RUF063
        if own:
            fields = cls._fields
            cls._fields = (*fields, *[name for name in own if name[0] != "_" and name not in fields])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given, known = self.__dict__, self._known
        if known is None:
            known = self._learn()
        if args:
            if len(args) > len(known):
                raise TypeError(f"{type(self).__name__} takes {len(known)} fields, got {len(args)}")
            given.update(zip(self._fields, args, strict=False))
        if kwargs:
            if not (kwargs.keys() <= known and kwargs.keys().isdisjoint(given)):
                name = next(name for name in kwargs if name not in known or name in given)
                raise TypeError(f"{type(self).__name__} got an unexpected or repeated {name!r}")
            given.update(kwargs)
        if not self._needed <= given.keys():
            name = next(name for name in self._fields if name in self._needed and name not in given)
            raise TypeError(f"{type(self).__name__} needs {name!r}")
        self._check()

    @classmethod
    def _learn(cls) -> frozenset[str]:
        """All fields, and which of them have no default; at the first instance."""
        cls._needed = frozenset([name for name in cls._fields if not hasattr(cls, name)])
        cls._known = known = frozenset(cls._fields)
        return known

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
        own = self.__dict__
        return type(self)(**{**{name: own[name] for name in self._fields if name in own}, **changes})
