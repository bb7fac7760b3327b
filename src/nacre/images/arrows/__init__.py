"""From a place to a place: pull, push, copy, mirror, save, load, import."""
