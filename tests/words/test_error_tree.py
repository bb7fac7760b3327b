from __future__ import annotations

import inspect
import pickle

import pytest

from nacre.words import errors
from nacre.words.errors import DigestMismatch, DockerfileError, NacreError, RegistryError, SandboxError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, NacreError)]


@pytest.mark.parametrize("kind", TREE)
def test_the_tree_is_drawn(kind: type[NacreError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert 1 <= kind.exit_code <= 127


def test_exit_codes_are_dockers() -> None:
    assert errors.UsageError.exit_code == 1
    assert errors.CommandNotFound.exit_code == 127
    assert errors.CommandNotExecutable.exit_code == 126
    assert errors.SandboxError.exit_code == 125
    assert errors.NotFound.exit_code == 1


def test_data() -> None:
    error = RegistryError("no", status=404, code="NAME_UNKNOWN", hint="look")
    assert (str(error), error.message, error.hint, error.status, error.code) == (
        "no",
        "no",
        "look",
        404,
        "NAME_UNKNOWN",
    )
    wrong = DockerfileError("unknown instruction", file="Dockerfile", line=3, column=5, text="RUNN x")
    assert str(wrong) == "Dockerfile:3:5: unknown instruction"
    assert (wrong.line, wrong.column, wrong.text) == (3, 5, "RUNN x")
    assert DigestMismatch("a", "b", what="layer").message == "layer has digest b, expected a"


def test_a_plain_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(errors.NotFound("gone", hint="look")))
    assert (type(error), error.message) == (errors.NotFound, "gone")


def test_what_could_not_start_is_told_with_its_path() -> None:
    missing = FileNotFoundError(2, "No such file or directory", "/dev/null")
    assert (
        SandboxError.of_start("x", missing).message == "cannot start x: /dev/null: No such file or directory"
    )
    assert SandboxError.of_start("x", OSError(11, "Try again")).message == "cannot start x: Try again"
