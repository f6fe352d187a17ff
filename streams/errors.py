"""What a log can say went wrong: one type a meaning, whatever driver lies below.

Each error carries a text that names the setting or place at fault, and the driver's error as its `__cause__`.
"""


class LogError(Exception):
    """Anything that a log raises."""


class Transient(LogError):
    """The log is away or busy; nothing was stored. The same call may succeed later. Ingest answers "try again later"."""


class Full(Transient):
    """No room: the disk, or a quota, is full. Ingest answers 452 or 75; goes on when there is room."""


class Fenced(LogError):
    """Another worker owns the partition, or took our transactional id. Nothing of the commit was stored. The worker drops
    what it has in hand and starts afresh from where the group stands (`Consumer.rewind`)."""


class Fatal(LogError):
    """Trying again cannot help: wrong settings, a missing topic, a log of a newer version. The program stops, exit status 2."""


class NotOurLog(Fatal):
    """The file or cluster is no log of ours, or of a newer version than this program can read. Nothing was touched."""


class TopicMissing(Fatal):
    """A topic that the settings imply does not exist."""


class TooLarge(LogError):
    """The record is larger than the topic takes (`max.message.bytes`). It was not stored, and never will be."""


class PositionExpired(Fatal):
    """A group stands at an offset that retention has already taken. A clear stop, never a silent jump."""
