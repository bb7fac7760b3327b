"""A store beside a model of it: every name, and what every file under it is."""
