"""`contextmanager`, `suppress` and `cached_property` as the Python library has them, without its imports.

`contextlib` and `functools` load `collections`, `types` and six more: 4 ms, a twelfth of a build that changes
nothing. So whatever such a build loads takes these from here. They do no more than is needed: a context
manager is entered once and decorates nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import contextmanager, suppress
    from functools import cached_property
else:

    class cached_property:
        """A method called once for an object, whose result then is an attribute of it."""

        def __init__(self, method):
            self._method, self.__doc__ = method, method.__doc__

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            found = instance.__dict__[self._name] = self._method(instance)
            return found

    class suppress:
        """Errors of these classes end the block, and nothing else."""

        def __init__(self, *classes):
            self._classes = classes

        def __enter__(self):
            return None

        def __exit__(self, kind, _error, _trace):
            return kind is not None and issubclass(kind, self._classes)

    def contextmanager(function):
        """A generator function that yields once, as a function that gives a context manager."""

        def manager(*args, **kwargs):
            return _Manager(function(*args, **kwargs))

        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(manager, name, getattr(function, name))
        manager.__wrapped__ = function
        return manager

    class _Manager:
        def __init__(self, generator):
            self._generator = generator

        def __enter__(self):
            return next(self._generator)

        def __exit__(self, kind, error, trace):
            if kind is None:
                next(self._generator, None)
                return False
            try:
                self._generator.throw(error)
            except StopIteration as stopped:
                return stopped is not error
            except BaseException as raised:
                if raised is error or (isinstance(error, StopIteration) and raised.__cause__ is error):
                    error.__traceback__ = trace
                    return False
                raise
            return True


__all__ = ["cached_property", "contextmanager", "suppress"]
