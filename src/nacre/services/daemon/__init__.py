"""A docker daemon, spoken to over its socket."""

from .daemon import DockerDaemon as DockerDaemon
