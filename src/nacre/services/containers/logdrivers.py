"""The log of a container by its driver: files, which may be limited in size, the journal, or none."""

from __future__ import annotations

from ...ground.monitor.logfile import Log, LogWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...grammars.logoptions import LogOptions
    from ...stores.containers import ContainerRow


def open_log(path: str, row: ContainerRow, record: dict[str, Any]) -> Log | None:
    """The log of a container that starts; None for a driver that keeps none. Raises SandboxError."""
    driver = record.get("log_driver") or "json-file"
    if driver == "none":
        return None
    if driver == "json-file" and not record.get("log_options"):
        return LogWriter(path)
    return _with_options(path, row, record)


def _with_options(path: str, row: ContainerRow, record: dict[str, Any]) -> Log:
    from ...grammars.logoptions import parse_log_options, rendered

    options = parse_log_options(record["log_driver"], (record.get("log_options") or {}).items())
    attributes = options.picked(record["labels"], record["config"]["process"]["env"])
    names = _names(row, record)
    if options.driver == "journald":
        from .journal import JournalWriter

        tag = rendered(options.tag or "{{.ID}}", names)
        return JournalWriter(names | {"Tag": tag}, attributes)
    if options.tag:
        attributes["tag"] = rendered(options.tag, names)
    return _files(path, options, attributes)


def _files(path: str, options: LogOptions, attributes: dict[str, str]) -> LogWriter:
    if not options.max_size:
        return LogWriter(path, None, attributes)
    from ...ground.monitor.rotation import Rotation

    rotation = Rotation(path, options.max_size, options.max_file, compress=options.compress)
    return LogWriter(path, rotation, attributes)


def _names(row: ContainerRow, record: dict[str, Any]) -> dict[str, str]:
    image = record["image_id"]
    return {
        "ID": row.id[:12], "FullID": row.id, "Name": row.name, "ImageID": image.partition(":")[2][:12],
        "ImageFullID": image, "ImageName": row.image_ref, "DaemonName": "nacre",
    }  # fmt: skip
