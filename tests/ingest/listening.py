"""A listener on a real log, which can be told to fail."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

from postroom.archive import ObjectArchive
from postroom.ingest.limits import Limits
from postroom.ingest.listener import Listener
from postroom.ingest.place import place_of
from postroom.ingest.room import Room
from streams.record import Appended, Draft
from streams.sqlite import SqliteLog
from tests.ingest.place import Place


class FailingLog(SqliteLog):
    """The real log until `error` is set, or `gate` closed. batches: the sizes of the appends so far."""

    error: Exception | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def append(self, drafts: Sequence[Draft]) -> list[Appended]:
        self.entered.set()
        self.gate.wait(30)
        if self.error:
            raise self.error
        self.batches.append(len(drafts))
        return super().append(drafts)


class Listening:
    """A started listener."""

    def __init__(
        self,
        place: Place,
        kind: Literal["lmtp", "smtp"],
        where: str = "127.0.0.1:0",
        *,
        room: Room | None = None,
        archive: ObjectArchive | None = None,
        inline_limit: int = 20_000,
        limits: Callable[[int], Limits] = Limits,
    ) -> None:
        self.log = FailingLog(place.folder / "postroom.db")
        acceptor = place.acceptor(log=self.log, room=room, archive=archive, inline_limit=inline_limit)
        self.listener = Listener(place_of(kind, where, place.folder), acceptor, lmtp=kind == "lmtp", limits=limits(acceptor.max_size))
        self.listener.start()
        self.address = self.listener.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.log.gate.set()
        self.listener.stop()
        self.log.close()
