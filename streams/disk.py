"""Files that are durable."""

import os
from pathlib import Path


def in_the_way(folder: Path) -> str | None:
    """Names the file that stands where the folder, or one above it, would have to be made; None where nothing does."""
    nearest = _nearest(folder)
    return None if os.path.isdir(nearest) else f"{nearest} is a file, and no folder"


def locked(folder: Path) -> str | None:
    """Names the folder, or where it is missing the nearest above it, where we have no right to make anything; None where we have it."""
    nearest = _nearest(folder)
    return f"{nearest} may not be written" if os.path.isdir(nearest) and not os.access(nearest, os.W_OK | os.X_OK) else None


def _nearest(folder: Path) -> Path:
    """What is there of a folder and those above it."""
    folder = folder.absolute()
    return next(above for above in (folder, *folder.parents) if os.path.exists(above))


def sync(path: Path) -> None:
    """Has the disk keep a file's content, or a folder's names, through a power cut. Blocks until it does. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
