"""Building images from Dockerfiles."""

from .builder import Builder, BuildOptions, BuildResult, BuildSources, CacheWriter
from .inputs import Inputs, load
from .missing import StepForecast
from .projects import NETRC, PIP_CONF, PackageIndexes
from .report import BuildReport

__all__ = [
    "NETRC", "PIP_CONF",
    "BuildOptions", "BuildReport", "BuildResult", "BuildSources", "Builder", "CacheWriter", "Inputs",
    "PackageIndexes",
    "StepForecast", "load",
]  # fmt: skip
