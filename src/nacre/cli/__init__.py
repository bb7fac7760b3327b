"""Floor 6: the command line; the only reader of arguments, environment and terminal."""

from ..ground.finder import install

install()
