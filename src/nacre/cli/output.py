"""What commands print: docker's tables, JSON lines, templates, sizes and ages.

A listing is a sequence of rows; a row maps docker's own template fields (`Repository`, `CreatedSince`,
`Size`) to what is shown. Values that are not strings are shown as JSON shows them.
"""

from __future__ import annotations

from ..words.errors import UsageError
from ..words.quickjson import escaped
from ..words.sizes import human_size as human_size
from ..words.timestamps import parse_timestamp
from .options import Option, flag, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ..grammars.gotemplate import Template
    from .context import Context
    from .options import Args

FORMAT = text("--format", "Format output: 'table', 'table TEMPLATE', 'json' or a Go template")
QUIET = flag("-q, --quiet", "Only display IDs")
NO_TRUNC = flag("--no-trunc", "Don't truncate output")
FILTER = many("-f, --filter", "Filter output based on conditions provided", type="filter")
LISTING: tuple[Option, ...] = (FILTER, FORMAT, NO_TRUNC, QUIET)
"""The four options every listing has."""

_GAP, _NARROWEST = 3, 10
"""Between columns, and the least width of a column with that. Source: docker/cli, formatter.Context."""


def listing(
    context: Context,
    args: Args,
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    *,
    key: str = "ID",
) -> None:
    """Print `rows` as `args.format` and `args.quiet` (where the command has them) want them.

    `columns` are (heading, field) of the default table; `key` is the field that --quiet shows.
    Raises UsageError for a bad template.
    """
    form = getattr(args, "format", "")
    if getattr(args, "quiet", False) and not form:
        for row in rows:
            context.print(_shown(row[key]))
    elif form == "json":
        for row in rows:
            context.print(_json(row))
    elif form in ("", "table"):
        table(
            context,
            [heading for heading, _ in columns],
            [[row[field] for _, field in columns] for row in rows],
        )
    else:
        _templated(context, form, rows, columns)


def _templated(
    context: Context, form: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, str]]
) -> None:
    from ..grammars.gotemplate import Struct, Template
    from ..grammars.gotemplate.functions import HEADER_FUNCTIONS
    from .headings import Headings

    tabular = form.startswith("table ")
    source = _unescaped(form.removeprefix("table ").strip() if tabular else form)
    template = Template(source)
    lines = [template.render(row if isinstance(row, Struct) else Struct(row, "row")) for row in rows]
    if not tabular:
        for line in lines:
            context.print(line)
        return
    named = {field: heading for heading, field in columns}
    head = Template(source, HEADER_FUNCTIONS).render(Headings(named)).split("\t")
    table(context, head, [line.split("\t") for line in lines])


def _unescaped(form: str) -> str:
    r"""In the text of a listing's template, `\t` and `\n` stand for tab and newline."""
    text, *actions = form.split("{{")
    pieces = [_tabbed(text)]
    for action in actions:
        inside, mark, text = action.partition("}}")
        pieces.append(inside + mark + _tabbed(text))
    return "{{".join(pieces)


def _tabbed(text: str) -> str:
    return text.replace("\\t", "\t").replace("\\n", "\n")


def inspect(context: Context, documents: Sequence[Any], form: str = "") -> None:
    """Print what `inspect` commands print: one indented JSON array, or a template for each document."""
    if form in ("", "json"):
        context.print(_json(list(documents), 4 if not form else None))
        return
    template = _parsed(form)
    for document in documents:
        context.print(_filled(template, document))


def _parsed(form: str) -> Template:
    """Raises UsageError, with docker's exit code."""
    from ..grammars.gotemplate import Template

    try:
        return Template(form)
    except UsageError as error:
        error.exit_code = 64
        raise


def _filled(template: Template, document: Any) -> str:
    """As docker: what fails over Go's types is tried over the JSON, where nothing may be missing."""
    from ..grammars.gotemplate import plain

    try:
        return template.render(document)
    except UsageError as error:
        hint = error.hint
    try:
        return template.render(plain(document), strict=True)
    except UsageError as error:
        raise UsageError(f"template parsing error: {error.message}", hint=hint) from None


def filler(form: str) -> Callable[[Any], str]:
    """What shows documents by a template, read once. Raises UsageError, and so does the result."""
    template = _parsed(form)
    return lambda document: _filled(template, document)


def print_fields(context: Context, form: str, fields: Mapping[str, Any], *, title: str = "") -> None:
    """One record: a `Name: value` line for each field (under `title`), `json`, or a template."""
    if form:
        return inspect_one(context, fields, form)
    if title:
        context.print(f"{title}:")
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        shown = _shown(value)
        context.print(f" {name + ':':{width}} {shown}" if title else f"{name}: {shown}")
    return None


def inspect_one(context: Context, document: Any, form: str) -> None:
    """One document as compact JSON (`json`) or through a template; without types nothing may be missing."""
    from ..grammars.gotemplate import Struct

    if form == "json":
        context.print(_json(document))
    elif isinstance(document, Struct) or not isinstance(document, dict):
        context.print(_filled(_parsed(form), document))
    else:
        context.print(_parsed(form).render(Struct(document, "record"), strict=True))


def table(
    context: Context, headings: Sequence[str], rows: Iterable[Sequence[Any]], narrowest: int = _NARROWEST
) -> None:
    """Columns as docker's: three spaces between them, `narrowest` with these; the last one not padded."""
    lines = [[*headings], *([_shown(value) for value in row] for row in rows)]
    widths = [max(narrowest, max(map(len, column)) + _GAP) for column in zip(*lines, strict=False)]
    for line in lines:
        padded = [value.ljust(width) for value, width in zip(line[:-1], widths, strict=False)]
        context.print("".join([*padded, *line[-1:]]))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any, indent: int | None = None) -> str:
    import json

    if isinstance(value, dict | list):
        from ..grammars.gotemplate import plain

        value = plain(value)
    separators = (",", ": " if indent else ":")
    return escaped(json.dumps(value, indent=indent, separators=separators, ensure_ascii=False, default=str))


def human_duration(seconds: float) -> str:
    """A length of time in words: `2 weeks`, `About an hour` (docker/go-units HumanDuration)."""
    whole = int(max(seconds, 0))
    minutes, hours = whole // 60, int(whole / 3600 + 0.5)
    steps = (
        (whole < 1, "Less than a second"), (whole == 1, "1 second"), (whole < 60, f"{whole} seconds"),
        (minutes == 1, "About a minute"), (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"), (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"), (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )  # fmt: skip
    return next((words for holds, words in steps if holds), f"{int(whole / 3600) // 24 // 365} years")


GO_ZERO = -62135596800.0
"""0001-01-01T00:00:00Z. Source: Go's package time, `Time.IsZero`."""


def ago(created: float | str, now: float | None = None) -> str:
    """The age of a moment (seconds since 1970, or an RFC 3339 text): `3 days ago`; `N/A` when unknown.

    The first second of the year 1 is what Go writes for a time that is not set.
    """
    import time

    moment = timestamp(created) if isinstance(created, str) else created
    if not moment or moment <= GO_ZERO:
        return "N/A"
    return f"{human_duration((time.time() if now is None else now) - moment)} ago"


_LAST_SECOND = 253402300799.0
"""Of the year 9999."""


def timestamp(text: str) -> float:
    """RFC 3339 as seconds since 1970; 0.0 for "" or what cannot be read."""
    return parse_timestamp(text) or 0.0


def instant(text: str) -> float:
    """A time (RFC 3339, a date, or seconds) or an age (`10m`, `1h30m`) as seconds since 1970.

    A time before 1970 or after 9999 is the nearer of the two ends. Raises UsageError.
    """
    import time

    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), _LAST_SECOND)
    seconds = timestamp(text) if "T" in text or "-" in text else 0.0
    return seconds or max(0.0, time.time() - _age(text))


def _age(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    total, digits = 0.0, ""
    for char in text:
        if char in units and digits:
            total, digits = total + float(digits) * units[char], ""
        elif char in "0123456789.":
            digits += char
        else:
            digits = "?"
            break
    if digits or not text:
        raise UsageError(f"invalid time {text!r}", hint="use a form like 2024-05-01T12:00:00Z or 10m")
    return total


def moment(created: float | str) -> str:
    """A moment as docker's CreatedAt, in local time: `2024-05-01 12:30:00 +0900 JST`; `N/A` when unknown."""
    import time

    seconds = timestamp(created) if isinstance(created, str) else created
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds)) if seconds else "N/A"


def local_rfc3339(seconds: float) -> str:
    """A moment to the second, in local time: `2024-05-01T12:30:00+09:00`, `…Z` where that is UTC.

    In UTC also where local time would leave the years 1 to 9999.
    """
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(int(seconds), UTC)
    try:
        local = moment.astimezone()
    except (ValueError, OverflowError):
        local = moment
    return local.isoformat().replace("+00:00", "Z")


def rfc3339(seconds: float) -> str:
    """A moment as docker's documents have it: in UTC, to the nanosecond; year 1 for never (0)."""
    from time import gmtime, strftime

    if not seconds:
        return "0001-01-01T00:00:00Z"
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)) + f"{seconds % 1:.9f}"[1:] + "Z"


def short_id(digest: str, full: bool = False) -> str:
    """An id as docker shows it: 12 digits, or the whole digest when `full` (--no-trunc)."""
    return digest if full else digest.partition(":")[2][:12] or digest[:12]


def ellipsis(text: str, width: int) -> str:
    """`text` in at most `width` characters, the last one `…` when something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"
