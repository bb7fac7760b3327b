"""Names for containers that were given none: adjective_noun, from the sea."""

from __future__ import annotations

import os

from ...words.errors import InvalidName

_ADJECTIVES = """
agile amber azure bold brave bright brisk calm clever coral curious daring deep eager early fair fluid
fresh gentle glad golden grand happy hidden humble keen kind lively lucid lucky mellow merry mighty
misty modest noble pale patient placid proud quick quiet rapid rosy serene sharp shiny silent silver
smooth snowy solid steady still sunny swift tidal tranquil vivid warm wise witty young
""".split()  # noqa: SIM905
_NOUNS = """
abalone anchor atoll barnacle bay beacon beluga bivalve breeze buoy clam cockle conch coral cove cowrie
crab current delta dolphin dune eddy ferry foam gull harbor heron island kelp krill lagoon limpet
lobster marlin moray mussel nautilus octopus orca otter oyster pearl pelican penguin petrel pier
plankton puffin ray reef sail scallop seal shell shore shrimp sponge squid starfish surf tern tide trout
urchin wave whale whelk
""".split()  # noqa: SIM905

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def new_id() -> str:
    """64 random hexadecimal digits, not all decimal, since the first 12 serve as a host name."""
    while True:
        number = os.urandom(32).hex()
        if not number[:12].isdigit():
            return number


def new_name() -> str:
    """One of some thousands of names."""
    first, second = os.urandom(2)
    return f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_NOUNS[second % len(_NOUNS)]}"


def check_name(text: str) -> None:
    """Raises InvalidName for what cannot be the name of a container."""
    if not is_name(text):
        raise InvalidName(f"invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


def is_name(text: str) -> bool:
    """docker's grammar of container names: [a-zA-Z0-9][a-zA-Z0-9_.-]+."""
    rest = text[1:]
    return len(text) >= 2 and text[0] in _LETTERS and all(c in _LETTERS or c in "_.-" for c in rest)
