"""What an exception is in a few words, and its fingerprint: alike for the same fault, whatever mail it happened on."""

import linecache
from collections.abc import Iterator
from hashlib import sha256
from types import CodeType, FrameType

_DETAIL = 500
"""Characters of an exception's message that a detail keeps; it may quote the whole mail."""


def code_file(function: object) -> str | None:
    """The file that a handler function is written in, or None (an extension, a partial of one)."""
    while (inner := getattr(function, "func", None) or getattr(function, "__wrapped__", None)) is not None:
        function = inner
    of_instance = getattr(type(function), "__call__")  # noqa: B004, B009 - the method itself is wanted
    code = getattr(function, "__code__", None) or getattr(of_instance, "__code__", None)
    return code.co_filename if isinstance(code, CodeType) else None


def in_words(error: BaseException) -> str:
    """The exception's type and message, for people who run the mail. Never raises, whatever its `__str__` does."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = plain(str(error).strip(), _DETAIL)
    except BaseException:  # noqa: BLE001 - it is somebody else's class, and we only want to say what happened
        message = "(its message cannot be read)"
    return f"{name}: {message}" if message else name


def plain(text: str, limit: int) -> str:
    """Text that JSON can carry: cut, without surrogates and NULs."""
    return text[:limit].encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{REPLACEMENT CHARACTER}")


def fingerprint(error: BaseException, own_file: str | None) -> str:
    """16 hex digits of the exception's type and its place: module, function and text of the innermost line in the handler's own
    file, or of the innermost of all when none is there. Not the line's number, so that an edit elsewhere in the file changes nothing."""
    frames = list(_frames(error))
    own = [place for place in frames if place[0].f_code.co_filename == own_file] or frames
    place = "-"
    if own:
        frame, line = own[-1]
        text = " ".join(linecache.getline(frame.f_code.co_filename, line).split())
        place = f"{frame.f_globals.get('__name__')}|{frame.f_code.co_qualname}|{text}"
    return of(type(error).__module__, type(error).__qualname__, place)


def of(*parts: str) -> str:
    """A fingerprint of something that is no exception: an exit status, a returned False."""
    return sha256("|".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
