"""`nacre events`: what happens in the store."""

from __future__ import annotations

from ..words.errors import UsageError
from .filters import Filters
from .options import Command, many, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..grammars.gotemplate import Struct
    from ..stores.eventlog import StoreEvent
    from .context import Context
    from .options import Args

_KINDS = ("container", "image", "network", "volume")
_OLD = ("status", "id", "from")
_IN_GO = {
    "Status": "status", "ID": "id", "From": "from", "Scope": "scope", "Time": "time", "TimeNano": "timeNano",
}  # fmt: skip
"""Fields that JSON has under another name than templates have."""
_ALLOWED = (*_KINDS, "event", "label", "type", "scope", "daemon")


def run(context: Context, args: Args) -> int:
    """One line for each, until the time that `--until` gives, or for ever."""
    filters = Filters(args.filter, _ALLOWED)
    since, until, shown = _moment(args.since), _moment(args.until), _form(args.format)
    for event in context.engine.system.events(since=since, until=until):
        if _allows(filters, event):
            context.print(shown(event))
            context.stdout.flush()
    return 0


def _moment(written: str) -> float | None:
    from .output import instant

    try:
        return instant(written) if written else None
    except UsageError:
        raise UsageError(f'failed to parse value as time or duration: "{written}"') from None


def _allows(filters: Filters, event: StoreEvent) -> bool:
    attributes = dict(event.attributes)
    return (
        filters.allows("type", event.kind)
        and filters.allows("event", event.action, event.action.partition(":")[0])
        and filters.allows("scope", "local")
        and not filters.get("daemon")
        and (not filters.get("label") or filters.labels(attributes))
        and all(_is_of(filters, kind, event, attributes) for kind in _KINDS)
    )


def _is_of(filters: Filters, kind: str, event: StoreEvent, attributes: dict[str, str]) -> bool:
    """`container=NAME` and the like: the thing itself; an image also that of a container."""
    wanted = filters.get(kind)
    if not wanted:
        return True
    if event.kind == kind:
        names = {event.id, attributes.get("name", ""), attributes.get("name", "").rpartition(":")[0]}
        return bool(names & set(wanted)) or any(len(one) > 3 and event.id.startswith(one) for one in wanted)
    image = attributes.get("image", "") if kind == "image" and event.kind == "container" else ""
    return bool({image, image.rpartition(":")[0]} - {""} & set(wanted))


def _form(form: str) -> Callable[[StoreEvent], str]:
    """What shows an event. Raises UsageError for a template that cannot be read."""
    if form in ("", "json"):
        return _json if form else _line
    from .output import filler

    fill = filler(form)
    return lambda event: fill(_struct(event))


def _json(event: StoreEvent) -> str:
    from json import dumps

    return dumps(_document(event), ensure_ascii=False, separators=(",", ":"))


def _line(event: StoreEvent) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in event.attributes)
    return f"{_local(event.time)} {event.kind} {event.action} {event.id}" + (f" ({inside})" if inside else "")


def _local(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, in the time zone of the user; Z for UTC."""
    import time

    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{shown}"


def _document(event: StoreEvent) -> dict[str, object]:
    attributes = dict(event.attributes)
    image = {"from": attributes["image"]} if event.kind == "container" and "image" in attributes else {}
    old = {"status": event.action, "id": event.id, **image} if event.kind in ("container", "image") else {}
    return {
        **old, "Type": event.kind, "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": attributes}, "scope": "local",
        "time": event.time // 1_000_000_000, "timeNano": event.time,
    }  # fmt: skip


def _struct(event: StoreEvent) -> Struct:
    from ..grammars.gotemplate import Struct

    known = {**dict.fromkeys(_OLD, ""), **_document(event)}
    known["Actor"] = Struct(known["Actor"], "Actor")
    return Struct(known, "Message", omitted=frozenset(_OLD), aliases=_IN_GO)


COMMAND = Command(
    "",
    run,
    options=(
        many("-f, --filter", "Filter output based on conditions provided", type="filter"),
        text("--format", "Format output using a custom template: 'json', or a Go template"),
        text("--since", "Show all events created since timestamp"),
        text("--until", "Stream events until this timestamp"),
    ),
    details="Filters: container=NAME event=ACTION image=NAME label=NAME[=VALUE] network=NAME scope=local "
    "type=container|image|network|volume volume=NAME",
)
