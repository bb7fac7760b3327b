"""skopeo's options of `copy`: what is particular to one end, and what nacre does not do.

Each end has its own credentials, certificates and daemon: `--src-…` for what is read, `--dest-…` for what is
written. All options of skopeo-copy(1) are known: each works, or is refused by a sentence.
"""

from __future__ import annotations

from ..words.errors import Unsupported, UsageError
from ..words.oci import Platform
from .options import Option, choice, flag, number, platform_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine.network import NetworkSettings
    from ..grammars.wire.auth import Credentials
    from ..images.places.place import Place
    from .context import Context
    from .options import Args

_REGISTRY = (
    "creds",
    "username",
    "password",
    "no-creds",
    "registry-token",
    "authfile",
    "cert-dir",
    "tls-verify",
)


def of_end(side: str, end: str) -> tuple[Option, ...]:
    """The options of one end."""
    return (
        text(f"--{side}-creds", f"User of the {end}'s registry", type="USER[:PASSWORD]"),
        text(f"--{side}-username", f"User of the {end}'s registry", hidden=True),
        text(f"--{side}-password", f"Password of this user at the {end}'s registry", hidden=True),
        text(f"--{side}-registry-token", f"Bearer token for the {end}'s registry", hidden=True),
        flag(f"--{side}-no-creds", f"Access the {end}'s registry anonymously"),
        text(f"--{side}-authfile", f"File with credentials for the {end}'s registry", type="file"),
        text(f"--{side}-cert-dir", f"Directory of certificates (crt, cert, key) for the {end}", type="path"),
        text(f"--{side}-daemon-host", f"Docker daemon of the {end}", type="host"),
        flag(f"--{side}-tls-verify", f"Require TLS and verify the {end}'s certificate", default=True),
    )  # fmt: skip


_PLATFORMS = ("", "system", "all", "index-only")
COMMON = (
    text("--authfile", "File with credentials for source and target", type="file"),
    number("--image-parallel-copies", "Number of blobs to copy at once"),
    choice("--multi-arch", "Platforms of an index to copy: system or all", _PLATFORMS),
    text("--override-arch", "Copy the platform with this architecture", hidden=True),
    text("--override-os", "Copy the platform of this operating system", hidden=True),
    text("--override-variant", "Copy the platform with this variant", hidden=True),
    number("--retry-times", "How often to retry transient failures"),
    text("--retry-delay", "Delay between two attempts (default: increasing)", type="duration"),
)  # fmt: skip

_WHOLE = "blobs are copied unchanged"
_PUSH = "pull the image and use nacre push --compression"
_UNSIGNED = "nacre does not sign"
_REFUSED: dict[str, tuple[str, str]] = {
    "decryption-key": ("nacre does not decrypt layers", ""),
    "encryption-key": ("nacre does not encrypt layers", ""),
    "encrypt-layer": ("nacre does not encrypt layers", ""),
    "dest-compress-format": (_WHOLE, _PUSH),
    "dest-compress-level": (_WHOLE, _PUSH),
    "dest-shared-blob-dir": ("an OCI layout always has its own blobs", ""),
    "src-shared-blob-dir": ("an OCI layout always has its own blobs", ""),
    "sign-by": (_UNSIGNED, ""),
    "sign-by-sigstore": (_UNSIGNED, ""),
    "sign-by-sigstore-private-key": (_UNSIGNED, ""),
    "sign-identity": (_UNSIGNED, ""),
    "sign-passphrase-file": (_UNSIGNED, ""),
    "policy": ("nacre does not verify signatures", ""),
    "command-timeout": ("a copy has no time limit", "use timeout(1)"),
    "tmpdir": ("the directory for temporary files cannot be chosen", "set TMPDIR"),
}
_REFUSED_FLAGS: dict[str, tuple[str, str]] = {
    "dest-compress": (_WHOLE, _PUSH),
    "dest-decompress": (_WHOLE, "pull the image and use nacre push --compression none"),
    "dest-force-compress-format": (_WHOLE, _PUSH),
    "dest-oci-accept-uncompressed-layers": (
        "another option keeps layers uncompressed",
        "use --preserve-digests",
    ),
}
KNOWN = (
    *(text(f"--{name}", "Refused", hidden=True) for name in _REFUSED),
    *(flag(f"--{name}", "Refused", hidden=True) for name in _REFUSED_FLAGS),
    flag("--remove-signatures", "Accepted: signatures are copied only with --referrers", hidden=True),
    flag("--dest-precompute-digests", "Accepted: existing content is never sent", hidden=True),
    flag("--insecure-policy", "Accepted: there is no signature policy", hidden=True),
)


def refuse(args: Args) -> None:
    """Raises Unsupported for what nacre does not do, UsageError for what excludes each other."""
    for name, (why, hint) in (_REFUSED | _REFUSED_FLAGS).items():
        if getattr(args, name.replace("-", "_")):
            raise Unsupported(f"--{name}: {why}", hint=hint)
    if args.multi_arch == "index-only":
        raise Unsupported(
            "--multi-arch index-only: an index is not copied without its images", hint="use all"
        )
    if args.remove_signatures and args.referrers:
        raise UsageError("--remove-signatures and --referrers are mutually exclusive")
    if args.all and args.multi_arch == "system":
        raise UsageError("--all and --multi-arch system are mutually exclusive")


def platform(args: Args) -> Platform | None:
    """The platform that was asked for, None for that of this machine. Raises UsageError, InvalidName."""
    given = [name for name in ("override-os", "override-arch", "override-variant") if name in _given(args)]
    if not given:
        return platform_of(args)
    if args.platform:
        raise UsageError(f"--platform and --{given[0]} are mutually exclusive")
    usual = Platform.host()
    architecture = args.override_arch or usual.architecture
    variant = args.override_variant or ("" if args.override_arch else usual.variant)
    return Platform.parse("/".join(filter(None, (args.override_os or usual.os, architecture, variant))))


def _given(args: Args) -> set[str]:
    return {key.replace("_", "-") for key in args.given}


class Ends:
    """What is particular to each end."""

    def __init__(self, context: Context, args: Args) -> None:
        self._context, self._args = context, args

    def network(self, side: str, place: Place) -> NetworkSettings | None:
        """How one end is reached; None where nothing is particular to it. Raises UsageError."""
        args = self._args
        given = [name for name in _REGISTRY if f"{side}-{name}" in _given(args)]
        if getattr(args, f"{side}_tls_verify") and "tls-verify" in given:
            given.remove("tls-verify")
        self._check(side, place, given)
        host = self._daemon_host(side, place)
        if not (host or given or args.authfile or "retry-times" in _given(args) or args.retry_delay):
            return None
        network = self._of(side, place)
        return network.replace(docker_host=host) if host else network

    def _daemon_host(self, side: str, place: Place) -> str:
        host = str(getattr(self._args, f"{side}_daemon_host"))
        if host and place.transport != "docker-daemon":
            raise UsageError(f"--{side}-daemon-host is for docker-daemon:, and this is {place}")
        return host

    def _check(self, side: str, place: Place, given: list[str]) -> None:
        if given and place.transport != "docker":
            raise UsageError(f"--{side}-{given[0]} is for a registry, and this is {place}")
        who = [name for name in given if name in ("creds", "username", "no-creds", "registry-token")]
        if len(who) > 1:
            raise UsageError(f"--{side}-{who[0]} and --{side}-{who[1]} are mutually exclusive")
        if ("password" in given) != ("username" in given):
            raise UsageError(f"--{side}-username and --{side}-password go together")

    def _of(self, side: str, place: Place) -> NetworkSettings:
        args = self._args
        network = _patient(args, self._context.engine.network)
        if place.transport != "docker":
            return network
        registry = place.named().registry
        if not getattr(args, f"{side}_tls_verify"):
            network = network.replace(insecure=(*network.insecure, registry))
        folder, file = getattr(args, f"{side}_cert_dir"), getattr(args, f"{side}_authfile") or args.authfile
        if folder:
            network = network.replace(certificates=((registry, folder),))
        if file:
            _check_file(file)
            network = network.replace(auth_files=(file,), variables=None)
        user = _credentials(args, side)
        return network.replace(users=((registry, user),)) if user is not None else network


def _patient(args: Args, network: NetworkSettings) -> NetworkSettings:
    """With the number of tries and the time between two that the line asks for."""
    if args.retry_times is not None:
        if args.retry_times < 0:
            raise UsageError("--retry-times must not be negative")
        network = network.replace(attempts=args.retry_times + 1)
    if not args.retry_delay:
        return network
    from ..grammars.config.schema import Wrong, seconds

    try:
        return network.replace(delay=seconds(args.retry_delay))
    except Wrong as error:
        raise UsageError(f"invalid --retry-delay {args.retry_delay!r}: expected {error}") from None


def _credentials(args: Args, side: str) -> Credentials | None:
    """What the line says of the user, None if nothing."""
    from ..grammars.wire.auth import ANONYMOUS, Credentials

    creds, user, token = (getattr(args, f"{side}_{name}") for name in ("creds", "username", "registry_token"))
    if getattr(args, f"{side}_no_creds"):
        return ANONYMOUS
    if token:
        return Credentials(registry_token=token)
    if user:
        return Credentials(user, getattr(args, f"{side}_password"))
    name, _, password = creds.partition(":")
    if creds and not name:
        raise UsageError(f"--{side}-creds has no user", hint="expected USER[:PASSWORD]")
    return Credentials(name, password) if creds else None


def _check_file(path: str) -> None:
    import os

    if not os.path.isfile(path):
        raise UsageError(f"credentials file {path} does not exist")
