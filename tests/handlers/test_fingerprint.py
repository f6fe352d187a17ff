"""Fingerprints: alike for one fault, whatever the mail, and different for two."""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest

from handlers.fingerprint import code_file, fingerprint, in_words
from handlers.word import Said, of_raise

SOURCE = """
def look(key):
    return {{}}[key]

def handle(key):
    {padding}
    return look(key)

def other(key):
    return look(key)

def deep(key):
    return int(key)
"""


def module(tmp_path: Path, padding: str = "pass") -> dict[str, Any]:
    """The functions of SOURCE, from a file."""
    file = tmp_path / "mine.py"
    file.write_text(SOURCE.format(padding=padding))
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    return names


def caught(function: Callable[[Any], Any], value: Any) -> BaseException:
    try:
        function(value)
    except Exception as error:
        return error
    raise AssertionError


def printed(tmp_path: Path, name: str, value: Any) -> str:
    function = module(tmp_path)[name]
    return fingerprint(caught(function, value), code_file(function))


def test_the_message_makes_no_difference(tmp_path: Path) -> None:
    """It has the mail's own words in it."""
    assert printed(tmp_path, "handle", "a") == printed(tmp_path, "handle", "b")


def test_the_innermost_line_of_the_handlers_own_file_counts(tmp_path: Path) -> None:
    """Not that of a library below it, nor the way there."""
    assert printed(tmp_path, "handle", "a") == printed(tmp_path, "other", "a")
    assert printed(tmp_path, "handle", "a") != printed(tmp_path, "deep", "a")


def test_type_matters(tmp_path: Path) -> None:
    """The same line may fail in two ways."""
    assert printed(tmp_path, "deep", "a") != printed(tmp_path, "deep", None)


def test_an_edit_elsewhere_in_the_file_changes_nothing(tmp_path: Path) -> None:
    """So the fingerprint outlives the next release of the handler."""
    before = printed(tmp_path, "handle", "a")
    function = module(tmp_path, "pass\n    # one more line\n    pass")["handle"]
    assert fingerprint(caught(function, "a"), code_file(function)) == before


def test_sixteen_hex_digits_without_a_traceback_too() -> None:
    """An exception that was never raised has no place."""
    assert len(fingerprint(ValueError("x"), None)) == 16
    int(fingerprint(ValueError("x"), None), 16)


def test_the_file_of_a_wrapped_handler_is_its_own() -> None:
    """Decorators, partials and objects are looked through."""

    def handle(_mail: Any, _more: int = 0) -> None: ...

    @wraps(handle)
    def wrapped(mail: Any) -> None:
        handle(mail)

    class Answering:
        def __call__(self, mail: Any) -> None: ...

    for function in (handle, wrapped, partial(handle, _more=1), Answering(), Answering().__call__):
        assert code_file(function) == __file__
    assert code_file(print) is None


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize("error", [Rude(), ValueError("\ud800\0" * 10_000), ExceptionGroup("many", [ValueError()]), RecursionError()])
def test_whatever_an_exception_says_of_itself_ends_as_a_short_word(error: Exception) -> None:
    """Its message may raise, be endless, or be no text."""
    assert len(in_words(error)) < 1000
    in_words(error).encode()
    said = of_raise(error, None)
    assert isinstance(said, Said)
    assert said.encode()
