"""Where a process that a handler forked ends, when it comes back out of the handler: with an error in it, or an exec that failed.

It is a copy of ours, with our place in the batch and our files, and would go on with the mails that are left. So it ends at once with
status 1, and neither writes out what we have in memory nor closes what we have open.
"""

import os
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, TypeVar

A = TypeVar("A")
T = TypeVar("T")


def called_here(function: Callable[[A], T]) -> Callable[[A], T]:
    """The function, out of which only the process comes that called it."""

    def call(argument: A) -> T:
        here = os.getpid()
        try:
            return function(argument)
        finally:
            _only(here)

    return call


@coroutine
def awaited_here(work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """What the coroutine comes to. Where it waits it comes back as well: to the event loop, which is ours."""
    here = os.getpid()
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            waits_for = step()
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            _only(here)
        try:
            sent = yield waits_for
        except BaseException as raised:  # noqa: BLE001 - it is the coroutine's, whatever it is
            step = partial(work.throw, raised)
        else:
            step = partial(work.send, sent)


def _only(process: int) -> None:
    if os.getpid() != process:
        os._exit(1)
