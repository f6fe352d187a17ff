"""What ingest writes to, and what the tests read back."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from postroom.archive import ObjectArchive
from postroom.ingest.accept import Acceptor
from postroom.ingest.room import Room
from streams.log import Log, TopicSpec
from streams.record import Record
from streams.sqlite import SqliteLog
from topology.facts import Facts
from topology.records import Topics, facts_of

TOPICS = Topics("mail")
MAIL = b"Message-ID: <1@example.org>\r\nFrom: Ann <ann@example.org>\r\nSubject: hello\r\n\r\nGood day.\r\n"


def numbered(number: int, body: bytes = b"Good day.\r\n") -> bytes:
    """A mail unlike those of other numbers."""
    return b"Message-ID: <%d@example.org>\r\nFrom: ann@example.org\r\n\r\n%b" % (number, body)


class Place:
    """A folder with a log in a SQLite file and an archive beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log: Log = SqliteLog(folder / "postroom.db")
        self.log.create([TopicSpec(TOPICS.raw, 4)])
        self.archive = ObjectArchive("file:archive/", folder)
        self._open = ExitStack()
        self._open.callback(self.log.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def acceptor(
        self,
        *,
        inline_limit: int = 20_000,
        max_size: int = 100_000,
        archive: ObjectArchive | None = None,
        room: Room | None = None,
        log: Log | None = None,
    ) -> Acceptor:
        """An acceptor on this place's parts, or others where given."""
        made = Acceptor(
            log or self.log, TOPICS, archive or self.archive, inline_limit=inline_limit, max_size=max_size, room=room or Room(0, [])
        )
        self._open.callback(made.close)
        return made

    def records(self) -> list[Record]:
        """What stands in mail.raw."""
        return list(self.log.read(TOPICS.raw))

    def facts(self) -> list[Facts]:
        """The facts of what stands in mail.raw."""
        return [facts_of(record) for record in self.records()]

    def mails(self) -> list[bytes]:
        """The mails in mail.raw, fetched from the archive where they are there."""
        return [self.mail(record) for record in self.records()]

    def mail(self, record: Record) -> bytes:
        """The mail of one record."""
        reference = facts_of(record).envelope.archived
        if reference is None:
            return record.value
        found = self.archive.get(reference)
        assert found is not None
        return found
