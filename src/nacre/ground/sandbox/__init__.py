"""Running a program in namespaces of its own: a list of operations that describe themselves."""

from .stdio import Attachment, Stdio

__all__ = ["Attachment", "Stdio"]
