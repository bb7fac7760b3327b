"""Running a program in namespaces of its own: a list of operations that describe themselves."""

from .launch import run
from .process import clean
from .stdio import Attachment, Stdio

__all__ = ["Attachment", "Stdio", "clean", "run"]
