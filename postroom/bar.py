"""How far long work has come, on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Show = Callable[[int, int | None], None]
"""Moves a bar to so much done of so much in all, None where that is not known; either may grow."""


@contextmanager
def gauge(what: str, unit: str | None = "mails") -> Iterator[Show]:
    """Shows a bar on stderr, where that is a terminal, and gives the function that moves it. unit: None for octets."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    # Here, because drawing takes longer to load than many a command to run.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = (MofNCompleteColumn(), TextColumn(unit)) if unit else (DownloadColumn(),)
    columns = (TextColumn(what), BarColumn(), *count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def bar(what: str, total: Callable[[], int] | int | None, unit: str = "mails") -> Iterator[Callable[[int], None]]:
    """As `gauge`, but gives the function that moves it on by so many. total: None where it is not known; a function is asked only where
    somebody looks."""
    with gauge(what, unit) as show:
        known = (total() if sys.stderr.isatty() else None) if callable(total) else total
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            show(done, known)

        tick(0)
        yield tick
