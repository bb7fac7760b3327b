"""`nacre registry serve`: a registry in the foreground."""

from __future__ import annotations

import os

from ..words.errors import UsageError
from .accounts import PLACE, ROOT, elsewhere
from .options import Command, choice, flag, many, number, size, text
from .output import FORMAT, human_size, inspect_one, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..images.arrows.mirroring import Outcome
    from ..stores.backup import BackupReport
    from ..stores.integrity import RegistryReport
    from ..words.rules import GarbageRules, RegistryRules, ServingConfig
    from .context import Context
    from .options import Args


def _serve(context: Context, args: Args) -> int:
    config = _configured(context, args)
    if args.check_config:
        from ..grammars.serving import written

        context.stdout.write(written(config))
        return 0
    from ..words.rules import host_and_port
    from ..words.telemetry import TelemetryRules

    host, port = host_and_port(config.address)
    root = os.path.abspath(config.folder or context.engine.registries.folder)

    access = config.rules.access
    invitation = _invitation(context, root, config.rules) if access.is_closed else ""

    def ready(url: str) -> None:
        context.print(f"serving on {url}/v2/, storage {config.rules.storage.url or root}")
        if invitation:
            link = f"{access.url.rstrip('/') or url}/-/setup?token={invitation}"
            context.print(f"make the first administrator within 24 hours: {link}")
        context.stdout.flush()

    log = None if config.quiet else context.warn
    rules = config.rules.replace(telemetry=TelemetryRules.of(context.environment))
    context.engine.registries.serve(host, port, root, ready, access=log, rules=rules)
    return 0


def _invitation(context: Context, root: str, rules: RegistryRules) -> str:
    place = {"actor": f"uid {context.uid}", "database": rules.metadata.url}
    with context.engine.registries.accounts(root, **place) as accounts:
        return accounts.invite()


def _configured(context: Context, args: Args) -> ServingConfig:
    """What the file says, then the variables, then the flags that were given."""
    flags = {name: getattr(args, name) for name in args.given}
    return context.engine.registries.configure(args.config, variables=context.environment, flags=flags)


def _place(context: Context, args: Args, *names: str) -> ServingConfig:
    """Where a registry is: as `serve` takes it, with these flags alone."""
    flags = {name: getattr(args, name) for name in names if name in args.given}
    return context.engine.registries.configure(args.config, variables=context.environment, flags=flags)


def _garbage(args: Args) -> GarbageRules:
    from ..words.durations import seconds
    from ..words.rules import GarbageRules

    return GarbageRules(grace=seconds(args.gc_grace), untagged=seconds(args.untagged_age))


def _collect(context: Context, args: Args) -> int:
    """Say what nothing names, and what of it is gone, or would go."""
    if remote := elsewhere(context, args, "gc_grace", "untagged_age"):
        found, gone = remote.content.collect(dry_run=args.dry_run)
    else:
        found, gone = context.engine.registries.collect(args.root, _garbage(args), dry_run=args.dry_run)
    rows = [
        {"What": what, "Manifests": one.manifests, "Blobs": one.blobs, "Size": human_size(one.bytes)}
        for what, one in (("unused", found), ("would go now" if args.dry_run else "removed", gone))
    ]
    columns = [("", "What"), ("MANIFESTS", "Manifests"), ("BLOBS", "Blobs"), ("SIZE", "Size")]
    listing(context, args, rows, columns, key="What")
    return 0


def _check(context: Context, args: Args) -> int:
    """A line for each damaged part of a manifest and each wrong value in the database; 1 when one is left."""
    report = _checked(context, args)
    if args.format:
        inspect_one(context, _document(report, read=args.read), args.format)
    else:
        _tell(context, report, "Read" if args.read else "Checked", _LEFT if args.repair else _WRONG)
    return 0 if report.is_sound else 1


def _checked(context: Context, args: Args) -> RegistryReport:
    how = {"read": args.read, "rate": args.rate}
    if remote := elsewhere(context, args, "config", "repair", "sparse"):
        return remote.content.check(**how)
    config = _place(context, args, "root")
    with context.progress(quiet=bool(args.format)) as progress:
        return context.engine.registries.check(
            config.folder,
            config.rules.storage,
            sparse=args.sparse,
            repair=args.repair,
            progress=progress,
            **how,
        )


_SOUND = "No problems found"
_WRONG = "`nacre registry check --repair` makes rows again from content"
_LEFT = "nothing else says what these values were: set them again, or restore a backup"


def _tell(context: Context, report: RegistryReport, what_was_done: str, hint: str) -> None:
    for one in report.damaged:
        what = "" if one.part == one.digest else f"{one.part} "
        context.print(f"{' '.join(one.names)}: {what}{one.problem}")
    for digest in report.unneeded:
        context.print(f"{digest}: damaged, but no manifest needs it")
    for row in report.rows:
        context.print(row.problem + (f": {row.mended}" if row.mended else ""))
    context.print(f"{what_was_done} {_counts(report)}")
    names = list(dict.fromkeys(name for one in report.damaged for name in one.names))
    left = sum(not row.mended for row in report.rows)
    if names or not left:
        context.print(f"{len(names)} damaged" if names else "No problems left" if report.rows else _SOUND)
    if left:
        context.print(f"{left} wrong in the database")
        context.warn(f"hint: {hint}")
    if names:
        context.warn(f"hint: push again {', '.join(names[:5])}: a client sends what the registry lacks")


def _counts(report: RegistryReport | BackupReport) -> str:
    counts = f"{report.repositories} repositories, {report.manifests} manifests, {report.blobs} blobs"
    return f"{counts}, {human_size(report.bytes)}"


def _counted(report: RegistryReport | BackupReport) -> dict[str, Any]:
    return {
        "Repositories": report.repositories, "Manifests": report.manifests, "Blobs": report.blobs,
        "Bytes": report.bytes,
    }  # fmt: skip


def _document(report: RegistryReport, *, read: bool) -> dict[str, Any]:
    return _counted(report) | {
        "Read": read, "Unneeded": list(report.unneeded),
        "Rows": [
            {"Table": one.table, "Row": one.row, "Column": one.column, "Value": one.value,
             "Mended": one.mended}
            for one in report.rows
        ],
        "Damaged": [
            {"Repository": one.repository, "References": list(one.references), "Digest": one.digest,
             "Part": one.part, "Problem": one.problem}
            for one in report.damaged
        ],
    }  # fmt: skip


def _backup(context: Context, args: Args) -> int:
    """Say what it holds, and a line for what could not be had whole; 1 when there is one."""
    report = _backed_up(context, args)
    if args.format:
        inspect_one(context, _backup_document(report), args.format)
        return 1 if report.damaged else 0
    for digest, problem in report.damaged:
        context.print(f"{digest}: {problem}")
    context.print(f"Backed up {_counts(report)}")
    context.print(f"{report.added} files new, {human_size(report.copied)} copied, {report.removed} removed")
    if report.damaged:
        context.warn("hint: `nacre registry check --read` names the images that are damaged")
    return 1 if report.damaged else 0


def _backed_up(context: Context, args: Args) -> BackupReport:
    directory, remote = args.positionals[0], elsewhere(context, args, "config")
    with context.progress(quiet=args.quiet or bool(args.format)) as progress:
        if remote:
            return remote.backup(directory, read=args.read, progress=progress)
        config = _place(context, args, "root")
        return context.engine.registries.backup(
            directory, config.folder, config.rules.storage, read=args.read, progress=progress
        )


def _backup_document(report: BackupReport) -> dict[str, Any]:
    return _counted(report) | {
        "Added": report.added, "Copied": report.copied, "Removed": report.removed,
        "Damaged": [{"Digest": digest, "Problem": problem} for digest, problem in report.damaged],
    }  # fmt: skip


def _restore(context: Context, args: Args) -> int:
    """A line for each damaged part of a manifest; 1 when there is one."""
    config = _place(context, args, "database", "root", "storage", "storage_endpoint")
    with context.progress(quiet=args.quiet or bool(args.format)) as progress:
        report = context.engine.registries.restore(
            args.positionals[0], config.folder, storage=config.rules.storage,
            database=config.rules.metadata.url, sparse=args.sparse, progress=progress,
        )  # fmt: skip
    if args.format:
        inspect_one(context, _document(report, read=True), args.format)
    else:
        _tell(context, report, "Restored", _WRONG)
    return 0 if report.is_sound else 1


def _import(context: Context, args: Args) -> int:
    source = args.positionals[0]
    if _is_registry(source):
        return _import_registry(context, args, source)
    if args.to or args.repository:
        raise UsageError(
            f"{source} is a folder: it is taken over whole, into --root, without --to or --repository"
        )
    return _import_folder(context, args, source)


def _is_registry(source: str) -> bool:
    if source.startswith("docker://"):
        return True
    host, slash, _ = source.partition("/")
    return not os.path.exists(source) and not slash and (":" in host or "." in host or host == "localhost")


def _import_registry(context: Context, args: Args, source: str) -> int:
    if not args.to:
        raise UsageError(f"{source} is a registry: say with --to which served registry takes it")
    if args.root or args.sparse:
        raise UsageError("a registry is imported into one that is served, without --root or --sparse")
    with context.progress(quiet=True) as progress:
        report = context.engine.registries.import_registry(
            source,
            args.to,
            args.repository,
            tell=_ImportPrinter(context, quiet=args.quiet),
            progress=progress,
        )
    context.print(
        f"Imported {report.copied} tags ({human_size(report.moved)}) of {report.repositories} repositories,"
        f" {report.unchanged} unchanged, {report.kept} kept, {report.failed} failed"
    )
    return 1 if report.failed else 0


class _ImportPrinter:
    """A line for each tag that came, was kept or failed; called from several threads."""

    def __init__(self, context: Context, *, quiet: bool) -> None:
        from threading import Lock

        self._context, self._quiet, self._lock = context, quiet, Lock()

    def __call__(self, outcome: Outcome) -> None:
        place = f"{outcome.target}:{outcome.tag}" if outcome.tag else outcome.source
        with self._lock:
            if outcome.status == "failed":
                self._context.print(f"{place}: {outcome.error}")
            elif outcome.status == "kept":
                self._context.warn(f"{place} names something else here already: it stays as it is")
            elif outcome.status == "copied" and not self._quiet:
                self._context.print(f"{place}: copied")


def _import_folder(context: Context, args: Args, source: str) -> int:
    """Say what came, and a line for what could not; 1 when there is one."""
    with context.progress(quiet=args.quiet) as progress:
        report = context.engine.registries.import_storage(
            source, args.root, sparse=args.sparse, progress=progress
        )
    for tag in report.kept:
        context.warn(f"{tag} names something else here already: it stays as it is")
    for failure in report.failed:
        context.print(failure)
    context.print(
        f"Imported {report.manifests} manifests, {report.tags} tags, {report.blobs} blobs"
        f" ({human_size(report.bytes)}) of {report.repositories} repositories"
    )
    return 1 if report.failed else 0


_FORMAT = text("-f, --format", "Format output: 'json' or a Go template")
_QUIET = flag("-q, --quiet", "Show no progress")
_SPARSE = flag("--sparse", "Do not report parts of manifests that were never pushed")
_RULES = (
    text("--gc-grace", "Keep unreferenced blobs for this time", default="24h", type="duration"),
    text("--untagged-age", "Keep untagged manifests for this time; 0s: forever", default="30d",
         type="duration"),
)  # fmt: skip
GC = Command(
    "", _collect, store=False,
    options=(flag("--dry-run", "Only show what is unused"), FORMAT, *_RULES, *PLACE),
    details="A served registry does this by itself. Unused content is marked when it is found, and removed"
    " when it has stayed unused for the given time.",
)  # fmt: skip
CHECK = Command(
    "", _check, store=False,
    options=(
        text("--config", "Configuration file that says where content is", type="path"),
        _FORMAT,
        size("--rate", "Maximum bytes to read per second; a request to a bucket counts as 64KiB",
             type="size"),
        flag("--read", "Read all content and hash it"),
        flag("--repair", "Make wrong rows of the database again from content, or remove them"),
        *PLACE,
        _SPARSE,
    ),
    details="Lists damaged content and the names it has, and wrong values in the database. Exits with 1 if"
    " there are any. Changes nothing without --repair; the registry may be served meanwhile.",
)  # fmt: skip
BACKUP = Command(
    "DIRECTORY", _backup, store=False,
    options=(
        text("--config", "Configuration file that says where content is", type="path"),
        _FORMAT,
        _QUIET,
        flag("--read", "Hash all content, also what was backed up before"),
        *PLACE,
    ),
    details="The registry may be served meanwhile. A backup into the same DIRECTORY adds what is new; an"
    " interrupted backup leaves the earlier one as it was. Content on the same file system is"
    " hard-linked; other content (--url, a bucket) is copied and hashed. Exits with 1 if some content"
    " could not be backed up.",
)  # fmt: skip
RESTORE = Command(
    "DIRECTORY", _restore, store=False,
    options=(
        text("--config", "Configuration file that says where names and content go", type="path"),
        text("--database", "PostgreSQL server for names and accounts; its database must be empty",
             type="url"),
        _FORMAT,
        _QUIET,
        ROOT,
        _SPARSE,
        text("--storage", "Bucket for the content: s3://, gs:// or az://", type="url"),
        text("--storage-endpoint", "URL of the object store, if it is not the vendor's", type="url"),
    ),
    details="DIRECTORY was written by nacre registry backup. --root must not hold a registry yet. All content"
    " is hashed, and in the end every image is checked: exits with 1 if one cannot be pulled. An"
    " interrupted restore resumes when it is run again. With --database and --storage the registry"
    " moves to a server and to a bucket; --config can say the same, and more about a bucket.",
)  # fmt: skip
IMPORT = Command(
    "FOLDER|REGISTRY", _import, store=False,
    options=(
        _QUIET,
        many("--repository", "Import only repositories that match (REGISTRY)", type="pattern"),
        ROOT,
        flag("--sparse", "Import manifests even if some of their content is missing (FOLDER)"),
        text("--to", "Registry to import REGISTRY into, HOST[:PORT][/NAMESPACE]", type="registry"),
    ),
    details="FOLDER is the storage directory of docker's registry (distribution), the one that holds"
    " docker/registry/v2; the registry at --root must not be served meanwhile. REGISTRY is the name of"
    " a registry, [docker://]HOST[:PORT]: its repositories are copied into another registry that is"
    " served, with the user's logins for both. All content is hashed. What is there already is not"
    " copied again, so an interrupted import can be repeated.",
)  # fmt: skip
COMMAND = Command(
    "",
    run=_serve,
    options=(
        flag("--accounts", "Require a login; prints a link to create the first administrator"),
        text("--addr", "Address to listen on; port 0 picks a free one", default="127.0.0.1:5000",
             type="host:port"),
        flag("--check-config", "Print the configuration, without secrets, and exit"),
        text("--cache-size", "Maximum size of content cached from upstreams; 0: no limit", type="size"),
        text("--config", "Configuration file (docs/registry-config.md)", type="path"),
        number("--connections", "Maximum connections from one address; raise it behind a proxy", default=256),
        text("--database", "PostgreSQL server for names and accounts; the directory remembers it",
             type="url"),
        flag("--delete-children", "Delete an index together with manifests that only it references"),
        text("--gc-interval", "Time between garbage collections; 0s: never", default="1h",
             type="duration"),
        *_RULES,
        flag("--plain-http", "Serve without TLS on an address that other machines reach"),
        ROOT,
        choice("--log-format", "Write the log as text or as json", ("text", "json"), default="text"),
        flag("-q, --quiet", "Log only failures of the registry itself"),
        flag("--sparse", "Accept manifests even if some of their content is missing"),
        text("--storage", "Keep content in a bucket: s3://, gs:// or az:// (docs/registry-storage.md)",
             type="url"),
        text("--storage-endpoint", "URL of the object store, if it is not the vendor's", type="url"),
        flag("--storage-redirect", "Redirect clients to the bucket for large blobs"),
        text("--tls-cert", "Certificate (PEM) followed by its chain; read again when it changes",
             type="file"),
        text("--tls-key", "Key of the certificate (PEM)", type="file"),
        many("--upstream", "Cache this registry: fetch its images on demand (docs/registry-cache.md)",
             type="registry"),
        text("--warning", "Warning that clients show to their users"),
    ),
    store=False,
    details="Runs until ctrl-C. Requests are logged on standard error, one line each. A configuration file"
    " and variables NACRE_SERVE_TABLE_KEY can set what flags set, and more: flags win over variables, and"
    " variables over the file.",
)  # fmt: skip
