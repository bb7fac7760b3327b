"""Building images from Dockerfiles."""

from .builder import Builder, BuildOptions, BuildResult
from .inputs import Inputs, load

__all__ = ["BuildOptions", "BuildResult", "Builder", "Inputs", "load"]
