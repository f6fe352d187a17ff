"""The archive of large mails: see `objects`."""

from postroom.archive.objects import ArchiveFull, ObjectArchive, Stored

__all__ = ["ArchiveFull", "ObjectArchive", "Stored"]
