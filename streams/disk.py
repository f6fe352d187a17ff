"""Files that are durable."""

import os
from pathlib import Path


def in_the_way(folder: Path) -> str | None:
    """Names the file that stands where the folder, or one above it, would have to be made; None where nothing does."""
    folder = folder.absolute()
    nearest = next(above for above in (folder, *folder.parents) if os.path.exists(above))
    return None if os.path.isdir(nearest) else f"{nearest} is a file, and no folder"


def sync(path: Path) -> None:
    """Has the disk keep a file's content, or a folder's names, through a power cut. Blocks until it does. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
