"""The Dockerfile that does by pip, in containers, what a build does without."""

from __future__ import annotations

import json

from ....grammars.python.pipconfig import USUAL, bare
from .layout import UID, USER, VENV

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....grammars.python.files import Pinned
    from .interpreter import Interpreter
    from .plan import ProjectPlan
    from .start import StartCommand


_PIP = "pip install --no-cache-dir --no-deps"
_SOURCE = "--mount=type=bind,target=/src,rw "


def dockerfile_of(
    plan: ProjectPlan, interpreter: Interpreter, pinned: Sequence[Pinned], start: StartCommand, has_user: bool
) -> str:
    """Its text, with a final line end."""
    return "\n".join(
        [*_begun(plan, interpreter), *_installed(plan, pinned), *_ended(plan, start, has_user), ""]
    )


def _begun(plan: ProjectPlan, interpreter: Interpreter) -> list[str]:
    return [
        "# syntax=docker/dockerfile:1",
        f"FROM {plan.settings.base}",
        f"RUN [{json.dumps(interpreter.path)}, \"-m\", \"venv\", \"{VENV}\"]",
        f"ENV PATH={VENV}/bin:$PATH VIRTUAL_ENV={VENV}",
    ]  # fmt: skip


def _installed(plan: ProjectPlan, pinned: Sequence[Pinned]) -> list[str]:
    others = [line for one in pinned if not one.folder for line in _line(one)]
    folders = [one.folder for one in pinned if one.folder]
    lines: list[str] = []
    if others:
        flag = " --require-hashes" if all("--hash" in line for line in others) else ""
        lines += ['COPY <<"EOF" /tmp/requirements.txt', *others, "EOF"]
        lines.append(f"RUN {_login(plan)}{_PIP}{flag}{_indexes(plan)} -r /tmp/requirements.txt")
    lines += [
        f"RUN {_SOURCE}{_login(plan)}{_PIP}{_indexes(plan)} /src/{folder}".removesuffix("/.")
        for folder in folders
    ]
    return lines


def _login(plan: ProjectPlan) -> str:
    """What shows a netrc to pip, where it does not use the usual index alone."""
    return "--mount=type=secret,id=netrc,target=/root/.netrc " if _indexes(plan) else ""


def _indexes(plan: ProjectPlan) -> str:
    """The options that name other indexes than the usual one, without users and passwords."""
    urls = [bare(source.url) for source in plan.sources if source.url.startswith(("http://", "https://"))]
    if urls in ([USUAL], []):
        return ""
    return f" --index-url {urls[-1]}" + "".join(f" --extra-index-url {url}" for url in urls[:-1])


def _line(one: Pinned) -> list[str]:
    assert one.file is not None
    hashes = " ".join(f"--hash={name}:{value}" for name, value in one.file.strong)
    return [f"{one.name}=={one.version} {hashes}".rstrip()]


def _ended(plan: ProjectPlan, start: StartCommand, has_user: bool) -> list[str]:
    settings = plan.settings
    lines = [f"WORKDIR {settings.workdir}"]
    words = settings.files or (() if plan.project.system else (".",))
    if words:
        flag = "--parents " if settings.files else ""
        lines.append(f"COPY {flag}{' '.join(words)} ./")
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in settings.env]
    lines += [f"LABEL {name}={json.dumps(value)}" for name, value in settings.labels]
    lines += [f"EXPOSE {port}" for port in settings.expose]
    if settings.user:
        lines.append(f"USER {settings.user}")
    elif not has_user:
        lines.append(f"RUN echo '{USER}:x:{UID}:' >> /etc/group \\")
        lines.append(f"    && echo '{USER}:x:{UID}:{UID}::/home/{USER}:/sbin/nologin' >> /etc/passwd \\")
        lines.append(f"    && mkdir -p /home/{USER} && chown {UID}:{UID} /home/{USER}")
        lines.append(f"USER {UID}:{UID}")
    if start.entrypoint:
        lines.append(f"ENTRYPOINT {json.dumps(list(start.entrypoint))}")
    if start.cmd:
        lines.append(f"CMD {json.dumps(list(start.cmd))}")
    return lines
