"""Images of Python projects without a Dockerfile: wheels laid straight into layers.

    files of the project ──▶ what is wanted ──lock, or resolver──▶ pinned wheels ──▶ layers ──▶ image
    base image ──▶ its Python: markers, tags ──┘                      └ built, where there is only source

Nothing of the base is run for that, and nothing of a package either, unless it has to be built.
"""

from .builder import ProjectBuilder

__all__ = ["ProjectBuilder"]
