"""The SQLite engine beside a model of plain dictionaries: whatever is appended, committed together, revised, trimmed and read, in any
order, with limits so small that every batch, page and step is cut somewhere."""

from collections.abc import Iterator
from contextlib import closing
from fcntl import LOCK_EX, flock
from hashlib import sha256
from os import close
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streams.log import Extent, Revision, TopicSpec
from streams.record import Draft, Position, Record, TopicPartition
from streams.sqlite import SqliteLog, batches, engine, reading, removal, schema

PARTITIONS = {"a": 1, "b": 2}
GROUP = "group"

pytestmark = pytest.mark.sqlite_only


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_RECORDS", 3)
    monkeypatch.setattr(batches, "MOST_BYTES", 100)
    monkeypatch.setattr(engine, "PAGE_RECORDS", 5)
    monkeypatch.setattr(reading, "PAGE_BYTES", 60)
    monkeypatch.setattr(removal, "STEP_RECORDS", 4)
    monkeypatch.setattr(removal, "STEP_BYTES", 90)


places = st.sampled_from([TopicPartition(topic, partition) for topic, count in PARTITIONS.items() for partition in range(count)])
values = st.binary(max_size=3) | st.integers(0, 9).map(lambda number: b"%d" % number * 50)
headers = st.sampled_from([(), (("h", b""),), (("h", b"1"), ("g", b"22"))])
drafts = st.builds(
    lambda at, key, value, headers, carried, shared, unique: Draft(
        at.topic, key, value, headers, at.partition, carried, sha256(value).digest() if shared else None, unique
    ),
    places,
    st.sampled_from([None, b"", b"key"]),
    values,
    headers,
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 9).map(lambda number: b"id %d" % number),
)
# Within one append a unique id stands in one partition, as ours do.
appends = st.lists(drafts, min_size=1, max_size=8, unique_by=lambda draft: (draft.topic, draft.unique or object()))


class Beside(RuleBasedStateMachine):
    """Two logs on one file take turns."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(prefix="model")
        self.path = Path(self._folder.name) / "log.db"
        self.now = 1000.0
        self.logs = [SqliteLog(self.path, clock=lambda: self.now) for _ in range(2)]
        self.log = self.logs[0]
        self.records: dict[TopicPartition, dict[int, Record]] = {
            TopicPartition(topic, partition): {} for topic, count in PARTITIONS.items() for partition in range(count)
        }
        self.extents = dict.fromkeys(self.records, Extent(0, 0))
        self.times = dict.fromkeys(self.records, 0)
        self.unique: dict[tuple[str, bytes], tuple[TopicPartition, int]] = {}

    @initialize()
    def begins(self) -> None:
        self.log.create([TopicSpec(topic, count) for topic, count in PARTITIONS.items()])
        self.log.ensure_group(GROUP, ["b"])

    def teardown(self) -> None:
        for log in self.logs:
            log.close()
        self._folder.cleanup()

    @rule(seconds=st.sampled_from([0.001, 1.0, -0.5]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_other_takes_its_turn(self) -> None:
        self.logs.reverse()
        self.log = self.logs[0]

    @rule(jobs=st.lists(appends, min_size=1, max_size=4))
    def several_append_in_one_transaction(self, jobs: list[list[Draft]]) -> None:
        lock = schema.open_lock(self.path)
        flock(lock, LOCK_EX)
        shared = self.log._shared
        futures = [shared.writer.submit(piles=shared.pack(job)) for job in jobs]
        close(lock)
        for job, future in zip(jobs, futures, strict=True):
            stored = future.result(10).stored
            for number, (draft, place) in enumerate(zip(job, stored.places(), strict=True)):
                assert draft.partition is not None
                at, offset = TopicPartition(draft.topic, draft.partition), place & (1 << 38) - 1
                name = (draft.topic, draft.unique or b"")
                assert (number in stored.repeats) == (draft.unique is not None and name in self.unique)
                if number in stored.repeats:
                    assert self.unique[name] == (TopicPartition(draft.topic, place >> 38 & 4095), offset)
                    continue
                first, end = self.extents[at]
                assert offset == end
                self.extents[at] = Extent(first, end + 1)
                self.times[at] = max(self.times[at], int(self.now * 1000))
                self.records[at][offset] = Record(
                    *at, offset, self.times[at], draft.key, draft.value, draft.headers, draft.carried, draft.digest
                )
                if draft.unique is not None:
                    self.unique[name] = (at, offset)

    @rule(
        changes=st.dictionaries(
            st.tuples(places, st.integers(0, 20)), st.none() | st.builds(Revision, st.sampled_from([b"", b"new" * 40]), headers), min_size=1
        )
    )
    def some_are_revised(self, changes: dict[tuple[TopicPartition, int], Revision | None]) -> None:
        self.log.revise({Position(self.log.id, *at, offset): change for (at, offset), change in changes.items()})
        for (at, offset), change in changes.items():
            record = self.records[at].get(offset)
            if record is None:
                continue
            if change is None:
                self._gone(at, offset)
            else:
                self.records[at][offset] = record._replace(value=change.value, headers=change.headers, digest=None)

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def retention_takes_what_is_old(self, seconds: float) -> None:
        before = int(self.now * 1000) - round(seconds * 1000)
        passed = {at: standing.offset for at, standing in self.log.standings(GROUP, ["b"]).items()}
        trimmed = sum(count for _, count in self.log.trim(dict.fromkeys(PARTITIONS, seconds)))
        for at, records in self.records.items():
            for offset in sorted(records):
                if records[offset].time >= before or offset >= passed.get(at, self.extents[at].end):
                    break
                self._gone(at, offset)
                self.extents[at] = Extent(offset + 1, self.extents[at].end)
                trimmed -= 1
        assert trimmed == 0

    @rule(limit=st.sampled_from([1, 2, 3, 50]), batches=st.integers(1, 4))
    def the_group_works(self, limit: int, batches: int) -> None:
        with closing(self.log.consumer(GROUP, ["b"])) as consumer:
            for _ in range(batches):
                begun = {at: standing.offset for at, standing in self.log.standings(GROUP, ["b"]).items()}
                batch = consumer.poll(limit, 0)
                assert len(batch.records) <= limit
                for at, behind in batch.positions.items():
                    due = [one for offset, one in sorted(self.records[at].items()) if begun[at] <= offset < behind and not one.carried]
                    assert [record for record in batch.records if record.at == at] == due
                consumer.commit([], batch.positions).result(10)

    @invariant()
    def all_is_there_and_nothing_else(self) -> None:
        for at, records in self.records.items():
            expected = [records[offset] for offset in sorted(records)]
            assert list(self.log.read(*at)) == expected
            assert list(self.log.read(*at, values=False)) == [one._replace(value=b"", digest=None) for one in expected]
            assert self.log.extents(at.topic)[at.partition] == self.extents[at]
            asked = range(-(-self.extents[at].end // 2) - 1, self.extents[at].end + 2)
            assert self.log.fetch([Position(self.log.id, *at, offset) for offset in asked]) == [records.get(offset) for offset in asked]
            for record in expected[1::3]:
                assert list(self.log.read(*at, start=record.offset)) == [one for one in expected if one.offset >= record.offset]
                assert list(self.log.read(*at, since=record.time)) == [one for one in expected if one.time >= record.time]
                assert list(self.log.read(*at, until=record.time)) == [one for one in expected if one.time < record.time]

    @invariant()
    def the_tables_beside_agree_with_the_batches(self) -> None:
        rows = self.log._reading.rows
        shared = {(record.digest, id_) for id_, record in self._by_id() if record.digest is not None}
        assert set(rows("SELECT c.digest, r.id FROM referrers r LEFT JOIN contents c ON c.id = r.content")) == shared
        assert {digest for (digest,) in rows("SELECT digest FROM contents")} == {digest for digest, _ in shared}
        assert len(rows("SELECT 1 FROM onces")) == len(self.unique)
        assert rows("PRAGMA integrity_check") == [("ok",)]

    def _by_id(self) -> Iterator[tuple[int, Record]]:
        for at, records in self.records.items():
            slot = self.log._reading.topic(at.topic).slot(at.partition)
            yield from ((slot << 38 | offset, record) for offset, record in records.items())

    def _gone(self, at: TopicPartition, offset: int) -> None:
        del self.records[at][offset]
        self.unique = {name: place for name, place in self.unique.items() if place != (at, offset)}


TestModel = Beside.TestCase
TestModel.settings = settings(max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
