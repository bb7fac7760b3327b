"""Makes a wheel of a source tree by its own build backend (PEP 517): a program, run in the base image.

    main(BACKEND, BACKEND-PATH, FOLDER, ROUND)

In the first round, a backend that asks for more packages is not called: they are in /out/requires.json.
FOLDER with a final slash is the folder in which the source tree is the only one.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

OUT = "/out"


def main(backend: str, paths: str, folder: str, number: str) -> None:
    """Call the backend, which writes the wheel to OUT."""
    if folder.endswith("/"):
        folder += next(name for name in sorted(os.listdir(folder)) if os.path.isdir(folder + name))
    os.chdir(folder)
    sys.path[:0] = [os.path.join(folder, path) for path in filter(None, paths.split(os.pathsep))]
    module, _, names = backend.partition(":")
    hooks = importlib.import_module(module)
    for name in filter(None, names.split(".")):
        hooks = getattr(hooks, name)
    os.makedirs(OUT, exist_ok=True)
    ask = getattr(hooks, "get_requires_for_build_wheel", None)
    wanted = list(ask() if ask else ())
    if wanted and number == "1":
        with open(f"{OUT}/requires.json", "w", encoding="utf-8") as file:
            json.dump(wanted, file)
        return
    hooks.build_wheel(OUT)
