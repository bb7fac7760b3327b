"""`nacre login`: check a user's credentials and keep them where docker does."""

from __future__ import annotations

from ..words.errors import Unauthorized, UsageError
from .options import Command, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context
    from .options import Args

_MAX_SECRET = 64 * 1024


def run(context: Context, args: Args) -> int:
    """Ask for what was not given, ask the registry, and keep the answer only if it says yes."""
    registry = args.positionals[0] if args.positionals else ""
    if not args.given and _known(context, registry):
        context.print("Login Succeeded")
        return 0
    path = context.engine.registries.login(registry, *_credentials(context, args))
    if path:
        context.warn(f"WARNING! Your credentials are stored unencrypted in '{path}'.")
    context.print("Login Succeeded")
    return 0


def _known(context: Context, registry: str) -> bool:
    """Do the credentials that are kept already still work?"""
    if not context.engine.registries.has_login(registry):
        return False
    context.warn("Authenticating with existing credentials...")
    try:
        context.engine.registries.login(registry)
    except Unauthorized:
        context.warn("Stored credentials are not accepted")
        return False
    return True


def _credentials(context: Context, args: Args) -> tuple[str, str]:
    """A name and a password."""
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
    return username, secret


def _ask(context: Context, prompt: str, *, hidden: bool = False) -> str:
    if not context.stdin.isatty():
        raise UsageError(
            "cannot ask for a user name and a password: the input is not a terminal",
            hint="use --username and --password-stdin",
        )
    if hidden:
        from getpass import getpass

        return getpass(prompt, context.stderr)
    context.stderr.write(prompt)
    context.stderr.flush()
    return context.stdin.readline().strip()


COMMAND = Command(
    "[SERVER]",
    run=run,
    options=(
        text("-p, --password", "Password or token; visible to others on this machine"),
        flag("--password-stdin", "Take the password or token from stdin"),
        text("-u, --username", "Username"),
    ),
    store=False,
    details="Credentials go into docker's config.json (mode 0600), or the file that REGISTRY_AUTH_FILE "
    "names, or to the credential helper that this file names. The default SERVER is Docker Hub.",
)
