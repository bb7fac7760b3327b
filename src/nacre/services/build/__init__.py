"""Building images from Dockerfiles."""

from .builder import Builder, BuildOptions, BuildResult
from .checks import call
from .inputs import Inputs, load

__all__ = ["BuildOptions", "BuildResult", "Builder", "Inputs", "call", "load"]
