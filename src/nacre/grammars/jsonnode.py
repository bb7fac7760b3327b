"""A value of a JSON document together with the place where it stands, so that errors can name it."""

from __future__ import annotations

from ..words import quickjson
from ..words.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

_MOST_SHOWN = 80


class JsonNode:
    """`what` names the document, `path` the place in it. Methods that check raise UsageError."""

    def __init__(self, value: Any, what: str, path: str = "") -> None:
        self.value, self.what, self.path = value, what, path

    def wrong(self, why: str) -> UsageError:
        """The error to raise: the place, and what is wrong there."""
        return UsageError(f"{self.what}: {self.path or 'the whole'} {why}")

    def shown(self) -> str:
        """The value as JSON, shortened."""
        return quickjson.dumps(self.value)[:_MOST_SHOWN]

    def known(self, names: Collection[str]) -> None:
        """It is an object that has no other names."""
        self.object()
        for name in self.value:
            if name not in names:
                raise self.at(name).wrong("is not known")

    def object(self) -> dict[str, Any]:
        """It is an object."""
        if not isinstance(self.value, dict):
            raise self.wrong("is not an object")
        found: dict[str, Any] = self.value
        return found

    def get(self, name: str) -> Any:
        """The value of a name, None for none."""
        return self.value.get(name)

    def at(self, name: str) -> JsonNode:
        """The place of a name; its value is None if there is none."""
        key = name if name.isidentifier() else quickjson.dumps(name[:_MOST_SHOWN])
        return JsonNode(self.value.get(name), self.what, f"{self.path}.{key}" if self.path else key)

    def items(self) -> Iterator[JsonNode]:
        """The places of a list; none for null."""
        if not isinstance(self.value, list | None):
            raise self.wrong("is not a list")
        for number, value in enumerate(self.value or ()):
            yield JsonNode(value, self.what, f"{self.path}[{number}]")

    def text(self) -> str:
        """It is a string with something in it."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("is missing" if self.value in (None, "") else "is not a string")
        return self.value

    def word(self, words: Collection[str]) -> str:
        """It is one of the words."""
        if self.text() not in words:
            raise self.wrong(f"is {self.shown()}, which is not known")
        return self.text()

    def number(self, most: int, least: int = 0) -> int:
        """It is a whole number in that range."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.wrong("is missing" if self.value is None else "is not a number")
        if not least <= self.value <= most:
            raise self.wrong(f"is {self.shown()}, not a number from {least} to {most}")
        return self.value
