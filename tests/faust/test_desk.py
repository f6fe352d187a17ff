"""The deliveries in hand: what holds everybody up, what holds up nobody, and what ends the role. All parts are real but for the broker:
commits are written down instead."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from handlers.breaker import Breaker
from handlers.coroutines import LoopCrew
from handlers.python import PythonHandler
from handlers.said import Telling
from handlers.timing import Call
from handlers.word import HANDLED, Said, Word
from postroom.archive import ObjectArchive
from postroom.faust.desk import Desk, Parts
from postroom.faust.gate import Outside
from postroom.faust.notes import Notes
from postroom.faust.progress import Progress
from postroom.faust.teller import Teller
from streams.faults import Newer
from streams.gate import Gate
from streams.log import Standing, TopicSpec
from streams.record import Record, TopicPartition
from streams.sqlite import SqliteLog
from streams.stage import Again
from tests.handlers.kit import TOPICS, record_of, routed
from topology.facts import Facts
from topology.records import facts_of

AT = TopicPartition(TOPICS.routed("test"), 0)


class Office:
    """A desk with everything round it, for one partition."""

    def __init__(self, folder: Path, handle: Callable[[Any], Any], *, pause_after: int = 0, note: str = "") -> None:
        self.log = SqliteLog(folder / "log.db")
        self.log.create([TopicSpec(TOPICS.said("test"), 1)])
        self.archive = ObjectArchive("file:archive/", folder)
        self.commits: list[tuple[int, str]] = []
        self.handler = PythonHandler("test", handle, limit=5)
        self.progress, notes = Progress(), Notes(4)
        breaker = Breaker("test", pause_after, time.monotonic, 0.05)
        teller, outside = Teller(self.log, self.archive, 1 << 20), Outside(Gate())
        self.desk = Desk(
            Parts(
                self.handler,
                TOPICS,
                self.archive,
                self.log.id,
                teller,
                outside,
                breaker,
                self.progress,
                notes,
                self._write,
                lambda: 1_000,
                4,
            )
        )
        notes.assigned({AT: Standing(0, note)})
        self.progress.assigned({AT: 0})

    async def _write(self, positions: Mapping[TopicPartition, tuple[int, str]]) -> bool:
        self.commits += positions.values()
        return True

    async def deliver(self, records: list[Record]) -> None:
        """As the instances of an agent do, all at once."""
        self.progress.fetched(AT, [record.offset for record in records], records[-1].offset + 1)
        async with asyncio.timeout(30):
            await asyncio.gather(*(self.desk.deliver(record) for record in records))
            async with self.desk.paused(20):  # what was said has been told
                pass

    def words(self) -> list[str]:
        """What was told, in order."""
        told = [Telling.decode(record.value).word for record in self.log.read(TOPICS.said("test"))]
        return [word.status if isinstance(word, Said) else type(word).__name__ for word in told]

    def close(self) -> None:
        self.handler.close()
        self.log.close()


def test_a_handler_that_fails_on_everybody_alike_pauses_and_a_success_ends_the_pause(tmp_path: Path) -> None:
    called: list[str] = []

    async def handle(mail: Any) -> None:
        called.append(mail.sender)
        if len(called) < 7:
            raise RuntimeError("the tracker is broken")

    records = [routed(number, sender=f"p{number}@example.org") for number in range(6)]
    with closing(Office(tmp_path, handle, pause_after=3)) as office:

        async def day() -> None:
            for record in records[:3]:
                await office.deliver([record])
            assert office.desk.holding
            assert "broken" in str(office.desk.holding)
            await office.deliver(records[3:])

        asyncio.run(day())
        assert office.words() == ["failed"] * 3 + ["handled"] * 3
        assert office.desk.holding is None
        assert len(set(called[3:6])) > 1  # the tries go round


def test_a_part_that_is_away_holds_everybody_and_takes_the_notes_back(tmp_path: Path) -> None:
    """An archive below a regular file cannot be read; once it can, everything goes on, and nothing was told meanwhile."""

    async def handle(mail: Any) -> None:
        assert mail.raw

    records = [routed(number) for number in range(3)]
    with closing(Office(tmp_path, handle)) as office:
        facts = facts_of(records[0])
        reference = office.archive.put(records[0].value, facts.envelope.digest)
        archived = facts.envelope.__class__(**{**_fields(facts.envelope), "archived": reference})
        records[0] = record_of(facts.having(envelope=archived), b"", 0)
        away = (tmp_path / "archive").rename(tmp_path / "elsewhere")
        (tmp_path / "archive").write_text("no folder")

        async def day() -> None:
            delivering = asyncio.create_task(office.deliver([records[0]]))
            while office.desk.holding is None:
                await asyncio.sleep(0.01)
            others = asyncio.create_task(office.deliver(records[1:]))
            assert not office.desk.busy
            (tmp_path / "archive").unlink()
            away.rename(tmp_path / "archive")
            await asyncio.gather(delivering, others)

        asyncio.run(day())
        assert office.words() == ["handled"] * 3
        assert office.commits[:2] == [(0, "1"), (0, "")]


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_facts_of_a_newer_version_end_the_role_and_nothing_is_told(tmp_path: Path) -> None:
    async def handle(_mail: Any) -> None:
        raise AssertionError("not to be called")

    record = routed(0)
    newer = {**orjson.loads(bytes(record.header("ce_facts") or b"")), "version": "2.0"}
    headers = tuple((name, orjson.dumps(newer) if name == "ce_facts" else value) for name, value in record.headers)
    with closing(Office(tmp_path, handle)) as office:
        asyncio.run(office.deliver([record._replace(headers=headers)]))
        assert isinstance(office.desk.fault, Newer)
        assert office.words() == []


def test_what_killed_its_worker_alone_is_set_aside_without_being_called(tmp_path: Path) -> None:
    called: list[str] = []

    async def handle(mail: Any) -> None:
        called.append(mail.recipient)

    records = [routed(number, recipient=f"{number}@foo.example") for number in range(3)]
    with closing(Office(tmp_path, handle, note="3@1")) as office:
        asyncio.run(office.deliver(records))
        assert called == ["0@foo.example", "2@foo.example"]
        assert office.words() == ["handled", "Failure", "handled"]
        assert office.commits[0] == (0, "3@0")


def test_a_coroutine_that_blocks_its_loop_is_late_and_the_ones_beside_it_are_called_again() -> None:
    crew, opened, calls = LoopCrew("test", 0.4, grace=0.1), threading.Event(), []

    async def handle(_call: Call, _facts: Facts, raw: bytes) -> Word:
        calls.append(raw)
        if raw == b"blocks":
            opened.wait()
        await asyncio.sleep(0.2 if raw == b"beside" and calls.count(raw) == 1 else 0)
        return HANDLED

    async def day() -> list[Word]:
        facts = facts_of(routed(0))
        blocking = asyncio.create_task(crew.one(facts, b"blocks", handle))
        while not calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.35)  # so that the other is not late yet when the loop is given up
        return list(await asyncio.gather(blocking, crew.one(facts, b"beside", handle)))

    try:
        blocked, beside = asyncio.run(day())
    finally:
        opened.set()
        crew.close()
    assert isinstance(blocked, Again)
    assert blocked.timeout
    assert beside == HANDLED


@pytest.mark.parametrize("first", ["told", "late"])
def test_a_stop_waits_for_what_is_under_way_and_begins_nothing_more(tmp_path: Path, first: str) -> None:
    async def handle(_mail: Any) -> None:
        await asyncio.sleep(0.05 if first == "told" else 60)

    records = [routed(number, recipient=f"{number}@foo.example") for number in range(2)]
    with closing(Office(tmp_path, handle)) as office:

        async def day() -> None:
            office.progress.fetched(AT, [0, 1], 2)
            under_way = asyncio.create_task(office.desk.deliver(records[0]))
            while not office.desk.busy:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            await office.desk.close(5 if first == "told" else 0.1)
            await office.desk.deliver(records[1])
            under_way.cancel()

        asyncio.run(day())
        assert office.words() == (["handled"] if first == "told" else [])
