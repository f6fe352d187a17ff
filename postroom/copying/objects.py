"""Carries what an archive holds to another archive."""

from collections.abc import Callable

from postroom.archive import ObjectArchive
from postroom.site import Site


def same(one: Site, other: Site) -> bool:
    """Whether two installations have one archive."""
    if one.archive.directory and other.archive.directory:
        return one.archive.directory.resolve() == other.archive.directory.resolve()
    return one.archive.url == other.archive.url


def carry(source: ObjectArchive, target: ObjectArchive, tick: Callable[[int], None]) -> int:
    """Puts every content into the target, with all who refer to it, unless it is there with them already; how many were put. What is
    released meanwhile is left out. Raises Hold, ArchiveFull."""
    count = 0
    for stored in source.stored() if source.begun() else ():
        if stored.owner or not stored.digest:
            continue
        reference = f"sha256:{stored.digest}"
        owners = set(source.owners(reference))
        is_there = stored.digest in target and owners <= set(target.owners(reference))
        if not is_there and (data := source.get(reference)) is not None:
            for owner in sorted(owners) or [""]:
                target.put(data, stored.digest, owner)
            count += 1
        tick(1)
    return count
