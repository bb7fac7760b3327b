"""Building images from Dockerfiles."""

from .builder import Builder, BuildOptions, BuildResult, BuildSources, CacheWriter
from .checks import call
from .inputs import Inputs, load

__all__ = ["BuildOptions", "BuildResult", "BuildSources", "Builder", "CacheWriter", "Inputs", "call", "load"]
