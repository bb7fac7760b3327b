"""`nacre login`: check a user's credentials and keep them where docker does."""

from __future__ import annotations

from ..words.errors import NacreError, Unauthorized, UsageError
from ..words.reference import DEFAULT_REGISTRY, Reference
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..grammars.wire.auth import Credentials
    from ..services.client.logins import Logins
    from .context import Context
    from .options import Args

_MAX_SECRET = 64 * 1024


def run(context: Context, args: Args) -> int:
    """Ask for what was not given, ask the registry, and keep the answer only if it says yes."""
    from .config import logins

    registry = registry_name(args.positionals[0] if args.positionals else "")
    config = logins(context)
    if not args.given and _known(context, config, registry):
        context.print("Login Succeeded")
        return 0
    credentials = _credentials(context, args)
    context.client.check(registry, credentials)
    _keep(context, config, registry, credentials)
    context.print("Login Succeeded")
    return 0


def registry_name(text: str) -> str:
    """`host[:port]` from a name or a URL as docker takes it, "" is Docker Hub. Raises InvalidName."""
    host = text.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if not host or host in ("index.docker.io", "registry-1.docker.io", DEFAULT_REGISTRY):
        return DEFAULT_REGISTRY
    if "." in host or ":" in host or host == "localhost":
        return Reference.parse(f"{host}/x").registry
    raise UsageError(f"{text!r} is no registry", hint="expected host, host:port or localhost")


def _known(context: Context, config: Logins, registry: str) -> bool:
    """Do the credentials that are kept already still work?"""
    kept = config.lookup(registry)
    if not kept:
        return False
    context.warn("Authenticating with existing credentials...")
    try:
        context.client.check(registry, kept)
    except Unauthorized:
        context.warn("Stored credentials are not accepted")
        return False
    return True


def _credentials(context: Context, args: Args) -> Credentials:
    """A name and a password; with `<token>` as the name an identity token, as credential helpers say it."""
    from ..grammars.wire.auth import Credentials
    from ..services.client.credentials import TOKEN_USER

    if args.password_stdin:
        if not args.username:
            raise UsageError("Must provide --username with --password-stdin")
        if args.password:
            raise UsageError("--password and --password-stdin are mutually exclusive")
        secret = context.stdin.read(_MAX_SECRET).rstrip("\r\n")
    elif "password" in args.given:
        context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        secret = args.password
    else:
        secret = ""
    username = args.username or _ask(context, "Username: ")
    secret = secret or _ask(context, "Password: ", hidden=True)
    if not username or not secret:
        raise UsageError("username and password must not be empty")
    return Credentials(identity_token=secret) if username == TOKEN_USER else Credentials(username, secret)


def _ask(context: Context, prompt: str, *, hidden: bool = False) -> str:
    if not context.stdin.isatty():
        raise UsageError(
            "cannot ask for a user name and a password: the input is no terminal",
            hint="use --username and --password-stdin",
        )
    if hidden:
        from getpass import getpass

        return getpass(prompt, context.stderr)
    context.stderr.write(prompt)
    context.stderr.flush()
    return context.stdin.readline().strip()


def _keep(context: Context, config: Logins, registry: str, credentials: Credentials) -> None:
    try:
        helper = config.store(registry, credentials)
    except NacreError as error:
        error.hint = error.hint or "the credentials are right, but were not kept"
        raise
    if not helper:
        context.warn(f"WARNING! Your credentials are stored unencrypted in '{config.path}'.")


COMMAND = Command(
    "[SERVER]",
    run=run,
    options=(
        text("-p, --password", "Password or token; visible to others on this machine"),
        flag("--password-stdin", "Take the password or token from stdin"),
        text("-u, --username", "Username"),
    ),
    store=False,
    details="Credentials go into docker's config.json (mode 0600), or the file that REGISTRY_AUTH_FILE\n"
    "names, or to the credential helper that this file names. Without SERVER, Docker Hub is meant.",
)
