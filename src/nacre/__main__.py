"""`python -m nacre`."""

from nacre.cli.main import entry

entry()
