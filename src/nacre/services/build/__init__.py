"""Building images from Dockerfiles."""

from .builder import Builder, BuildOptions, BuildResult, BuildSources
from .checks import call
from .inputs import Inputs, load

__all__ = ["BuildOptions", "BuildResult", "BuildSources", "Builder", "Inputs", "call", "load"]
