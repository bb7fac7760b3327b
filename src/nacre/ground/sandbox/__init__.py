"""Running a program in namespaces of its own: a list of operations that describe themselves."""
