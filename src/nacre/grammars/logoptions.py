"""docker's log drivers and their options.

    driver = "json-file" / "local" / "journald" / "none"
    option = NAME "=" VALUE

Source: moby daemon/logger, validators of jsonfilelog, local and journald; docker/go-units FromHumanSize.
"""

from __future__ import annotations

from ..words.errors import Unsupported, UsageError
from ..words.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DRIVERS = ("json-file", "local", "journald", "none")
_REMOTE = ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk", "syslog")
_FILES = ("max-size", "max-file", "compress")
_ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
_KNOWN = {
    "json-file": (*_FILES, *_ATTRIBUTES, "mode"),
    "local": (*_FILES, "mode"),
    "journald": (*_ATTRIBUTES, "mode"),
    "none": (),
}
_LOCAL = {"max-size": "20m", "max-file": "5"}
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "p": 1000**5}
_TAG = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")
"""What a tag may name. Source: moby daemon/logger/loginfo.go."""

_YES, _NO = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class LogOptions(Value):
    """How a log is kept. `max_size` in bytes, 0 for no limit; `max_file` counts the file that is written.

    `labels` and `env` are names, the patterns regular expressions, of labels and variables to keep with each
    entry; `tag` is a Go template.
    """

    driver: str = "json-file"
    max_size: int = 0
    max_file: int = 1
    compress: bool = False
    labels: tuple[str, ...] = ()
    labels_pattern: str = ""
    env: tuple[str, ...] = ()
    env_pattern: str = ""
    tag: str = ""

    def picked(self, labels: Mapping[str, str], env: Iterable[str]) -> dict[str, str]:
        """The labels and variables (`NAME=value`) that each entry keeps."""
        variables = dict(item.partition("=")[::2] for item in env)
        return {
            **_picked(labels, self.labels, self.labels_pattern),
            **_picked(variables, self.env, self.env_pattern),
        }


def _picked(known: Mapping[str, str], names: tuple[str, ...], pattern: str) -> dict[str, str]:
    found = {name: known[name] for name in names if name in known}
    if pattern:
        from re import search

        found |= {name: value for name, value in known.items() if search(pattern, name)}
    return found


def parse_log_options(driver: str, pairs: Iterable[tuple[str, str]]) -> LogOptions:
    """Raises UsageError, Unsupported, which name driver and option."""
    driver = driver or "json-file"
    _check_driver(driver)
    given = dict(pairs)
    for name in given:
        if name not in _KNOWN[driver]:
            raise UsageError(f"unknown log opt '{name}' for {driver} log driver", hint=_hint(driver))
    if given.get("mode", "blocking") != "blocking":
        raise _refused(driver, "mode", given["mode"], "output is always written before more is read")
    if driver == "local":
        compress = {} if given.get("max-file") == "1" else {"compress": "true"}
        given = _LOCAL | compress | given
    return _made(driver, given)


def _check_driver(driver: str) -> None:
    if driver in _REMOTE:
        raise Unsupported(f"the log driver {driver} is not supported", hint=f"use one of {_list(DRIVERS)}")
    if driver not in DRIVERS:
        raise Unsupported(f"no log driver named {driver!r}", hint=f"use one of {_list(DRIVERS)}")


def _hint(driver: str) -> str:
    return f"it has {_list(_KNOWN[driver])}" if _KNOWN[driver] else "it has no options"


def _list(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _made(driver: str, given: Mapping[str, str]) -> LogOptions:
    size, count = _size(driver, given.get("max-size")), _count(driver, given.get("max-file"))
    compress = _flag(driver, given.get("compress"))
    if compress and (count == 1 or not size):
        why = "max-file is less than 2 or max-size is not set"
        raise _refused(driver, "compress", "true", why)
    if "max-file" in given and not size:
        raise _refused(driver, "max-file", given["max-file"], "max-size is not set")
    return LogOptions(
        driver, size, count, compress,
        _names(given.get("labels")), _pattern(driver, "labels-regex", given),
        _names(given.get("env")), _pattern(driver, "env-regex", given), _template(driver, given),
    )  # fmt: skip


def _refused(driver: str, name: str, value: str, why: str) -> UsageError:
    return UsageError(f"invalid log opt '{name}={value}' for {driver} log driver: {why}")


def _size(driver: str, text: str | None) -> int:
    """`10m`, `1.5GB`: decimal units."""
    if text is None:
        return 0
    number = text.lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    number = number.removesuffix(unit).removesuffix(" ")
    if not (number.isascii() and number.replace(".", "", 1).isdigit()) or len(number) > 15:
        raise _refused(driver, "max-size", text, "it is not a size")
    if not (size := int(float(number) * _UNITS[unit])):
        raise _refused(driver, "max-size", text, "it must be a positive number")
    return size


def _count(driver: str, text: str | None) -> int:
    if text is None:
        return 1
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise _refused(driver, "max-file", text, "it is not a whole number")
    if not int(text):
        raise _refused(driver, "max-file", text, "it cannot be less than 1")
    return int(text)


def _flag(driver: str, text: str | None) -> bool:
    if text is not None and text not in (*_YES, *_NO):
        raise _refused(driver, "compress", text, "it is not a boolean")
    return text in _YES


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (text or "").split(",")))


def _pattern(driver: str, name: str, given: Mapping[str, str]) -> str:
    text = given.get(name, "")
    if text:
        import re

        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise _refused(driver, name, text, str(error)) from None
    return text


def rendered(template: str, names: Mapping[str, str]) -> str:
    """The tag of a container: `names` are its ID, FullID, Name, ImageID, … Raises UsageError."""
    from .gotemplate import Struct, Template

    return Template(template).render(Struct(dict(names), "Info"))


def _template(driver: str, given: Mapping[str, str]) -> str:
    text = given.get("tag", "")
    if text:
        try:
            rendered(text, dict.fromkeys(_TAG, ""))
        except UsageError as error:
            raise _refused(driver, "tag", text, error.message) from None
    return text
