"""Files that are durable."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Has the disk keep a file's content, or a folder's names, through a power cut. Blocks until it does. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
