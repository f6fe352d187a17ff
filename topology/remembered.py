"""A memory of what a function said of texts that come again and again: addresses, local parts."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

R = TypeVar("R")

MOST = 32_768
"""Results that are kept, the latest."""


def remembered(longest: int, most: int = MOST) -> Callable[[Callable[[str], R]], Callable[[str], R]]:
    """Keeps so many results of a pure function, for texts of at most so many characters. Longer ones are worked out each time, so that a
    hostile one cannot fill the memory."""

    def wrap(function: Callable[[str], R]) -> Callable[[str], R]:
        known = lru_cache(maxsize=most)(function)

        @wraps(function)
        def called(text: str) -> R:
            return known(text) if len(text) <= longest else function(text)

        return called

    return wrap
