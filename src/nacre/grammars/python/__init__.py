"""The files of Python projects: what they need, what is locked, where it lies, and for which machine."""
