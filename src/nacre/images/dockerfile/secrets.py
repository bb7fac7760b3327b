"""Secrets by their shapes: tokens and keys of well-known services, and files that hold such. Pure.

What is found is named by its kind; the secret itself goes nowhere. Placeholders (`ghp_xxxx`, `your-token`,
`${TOKEN}`) are none. Sources: the services' pages about the formats of their tokens.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SHAPES = (
    ("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_([A-Za-z0-9]{36,})"),
    ("a GitHub token", ("github_pat_",), r"\bgithub_pat_([A-Za-z0-9_]{50,})"),
    ("a GitLab token", ("glpat-",), r"\bglpat-([A-Za-z0-9_-]{20,})"),
    ("an AWS access key", ("AKIA", "ASIA"), r"\bA[KS]IA([A-Z0-9]{16})\b"),
    ("a Slack token", ("xox",), r"\bxox[abprs]-([0-9]+-[0-9A-Za-z-]{20,})"),
    ("a Google API key", ("AIza",), r"\bAIza([0-9A-Za-z_-]{35})\b"),
    ("a Stripe key", ("_live_",), r"\b[sr]k_live_([0-9A-Za-z]{24,})"),
    ("an npm token", ("npm_",), r"\bnpm_([A-Za-z0-9]{36})\b"),
    ("a PyPI token", ("pypi-AgE",), r"\bpypi-AgE([A-Za-z0-9_-]{50,})"),
    ("an OpenAI key", ("T3BlbkFJ",), r"\bsk-([A-Za-z0-9_-]{0,200}T3BlbkFJ[A-Za-z0-9_-]{16,})"),
    ("an Anthropic key", ("sk-ant-",), r"\bsk-ant-([A-Za-z0-9_-]{32,})"),
    ("a Hugging Face token", ("hf_",), r"\bhf_([A-Za-z0-9]{34,})\b"),
    ("a Docker Hub token", ("dckr_pat_",), r"\bdckr_pat_([A-Za-z0-9_-]{27,})"),
    ("a DigitalOcean token", ("dop_v1_",), r"\bdop_v1_([a-f0-9]{64})\b"),
    ("a SendGrid key", ("SG.",), r"\bSG\.([A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})\b"),
    ("a private key", ("PRIVATE KEY",),
     r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\\n|\s|[A-Za-z-]+: [^\n]*\n)+([A-Za-z0-9+/=\\\s]{64,})"),
    ("a password in a URL", ("://",), r"\bhttps?://[^\s/:@'\"$<{]*:([^\s/:@'\"$<{]{8,})@[^\s/'\"]"),
)  # fmt: skip
"""The kind, what the text has to hold, and the shape with the part that tells a secret from a placeholder."""
_PLACEHOLDERS = (
    "example",
    "xxxx",
    "your",
    "changeme",
    "change-me",
    "placeholder",
    "dummy",
    "password",
    "1234567",
)
_DISTINCT = 7
"""Different characters that a real one has at least."""


def is_real(value: str) -> bool:
    """Whether a value may be a secret, and is neither a placeholder nor a reference to a variable."""
    lower = value.strip("'\" ").lower()
    if len(lower) < 8 or len(set(lower)) < _DISTINCT or not set("${}<>").isdisjoint(lower):
        return False
    return not any(word in lower for word in _PLACEHOLDERS)


def secrets_in(text: str) -> list[str]:
    """The kinds of the secrets that a text holds, each once."""
    found: dict[str, None] = {}
    for kind, marks, shape in _SHAPES:
        if any(mark in text for mark in marks) and any(map(is_real, re.findall(shape, text))):
            found[kind] = None
    return list(found)


def masked(text: str) -> str:
    """A text without its secrets, as long as before."""
    for _, marks, shape in _SHAPES:
        if any(mark in text for mark in marks):
            text = re.sub(shape, lambda found: re.sub(r"\S", "*", found[0]), text)
    return text


# files

_KEYS = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
_KEY_ENDS = (".pem", ".key", ".p8")
_TRIALS = frozenset(("test", "tests", "testdata", "fixtures", "examples", "spec", "specs", "__tests__"))
"""Folders whose keys are made up."""
_SAMPLES = ("example", "sample", "template", "dist", "defaults", "test", "schema")


def _value(shape: str, kind: str) -> Callable[[str], str]:
    """The kind, if a value of this shape is real."""
    return lambda text: kind if any(map(is_real, re.findall(shape, text, re.MULTILINE))) else ""


def _shaped(text: str) -> str:
    return next(iter(secrets_in(text)), "")


def _key(text: str) -> str:
    return "a private key" if "a private key" in secrets_in(text) else ""


def _variables(text: str) -> str:
    """A file of variables: one that is called like a secret, with a value that looks like one."""
    from .lint import is_sensitive

    for name, value in re.findall(r"^(?:export )?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", text, re.MULTILINE):
        if (
            is_sensitive(name)
            and len(value) >= 16
            and is_real(value)
            and not re.search(r"\s|://", value.strip())
        ):
            return "a secret variable"
    return _shaped(text)


_FILES: dict[str, Callable[[str], str]] = {
    ".npmrc": _value(r"_(?:authToken|auth|password)\s*=\s*(\S+)", "an npm token"),
    ".yarnrc.yml": _value(r"npmAuthToken:\s*(\S+)", "an npm token"),
    ".pypirc": _value(r"^password\s*[:=]\s*(\S+)", "a password"),
    ".netrc": _value(r"\bpassword\s+(\S+)", "a password"),
    ".git-credentials": _shaped,
    "pip.conf": _shaped,
}
_IN_FOLDERS: dict[str, Callable[[str], str]] = {
    ".git/config": lambda text: (
        _shaped(text) or _value(r"extraheader\s*=\s*(.+)", "a token of a checkout")(text)
    ),
    ".docker/config.json": _value(r'"auth"\s*:\s*"([^"]+)"', "the password of a registry"),
    ".aws/credentials": _value(r"aws_secret_access_key\s*=\s*(\S+)", "an AWS secret key"),
    ".kube/config": _value(r"(?:client-key-data|token):\s*(\S+)", "a key of a cluster"),
}


def reader_of(path: str, *, is_given: bool = True) -> Callable[[str], str] | None:
    """What tells the kind of the secret in a file of this path from its text ("" for none); None: not a one.

    `is_given`: the file is from a context or another image. What a command makes has keys of its own.
    """
    folder, _, name = path.rpartition("/")
    if not _TRIALS.isdisjoint(folder.split("/")):
        return None
    if name in _KEYS:
        return _key
    if name.startswith(".env") and (name == ".env" or name[4] == "."):
        return None if any(word in name for word in _SAMPLES) else _variables
    if is_given and name.endswith(_KEY_ENDS):
        return _key
    if is_given and name.endswith(".json") and ("credential" in name or "service" in name or "key" in name):
        return _key
    return _FILES.get(name) or _IN_FOLDERS.get(f"{folder.rpartition('/')[2]}/{name}")


def secret_files(paths: Iterator[tuple[bytes, bytes]], *, is_given: bool = True) -> Iterator[
    tuple[bytes, Callable[[str], str]]
]:  # fmt: skip
    """Those of `paths` (a key, a path) that may hold a secret: the key, and what reads the text."""
    for key, path in paths:
        name = path[path.rfind(b"/") + 1 :]
        if name in _NAMES or name.startswith((b".env", b"id_")) or name.endswith(_ENDS):
            read = reader_of(path.decode("utf-8", "replace"), is_given=is_given)
            if read is not None:
                yield key, read


_NAMES = frozenset(name.encode() for name in (*_FILES, "config", "config.json", "credentials"))
_ENDS = tuple(end.encode() for end in (*_KEY_ENDS, ".json"))
