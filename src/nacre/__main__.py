"""Run the command line by `python -m nacre`."""

from _signal import SIG_DFL, SIGINT, signal  # type: ignore[import-not-found]

signal(SIGINT, SIG_DFL)  # ctrl-C while modules are loaded

from nacre.cli.main import entry  # noqa: E402

entry()
