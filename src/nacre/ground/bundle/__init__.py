"""A container as an OCI bundle describes it: every property of its config is done, or refused by name."""
