"""Some things at a time, fewer where they are large."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(things: Iterable[T], most: int, most_octets: int, octets: Callable[[T], int]) -> Iterator[list[T]]:
    """The things in their order, at most so many together; a batch also ends with the one that brings it to so many octets."""
    batch: list[T] = []
    size = 0
    for thing in things:
        batch.append(thing)
        size += octets(thing)
        if len(batch) >= most or size >= most_octets:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
