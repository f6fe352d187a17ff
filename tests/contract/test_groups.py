"""Several members of a group: who gets what, and what happens when one goes, dies or freezes."""

import time
from collections.abc import Callable

import pytest

from streams.errors import Fenced
from streams.log import Consumer, Log
from streams.record import Draft, TopicPartition
from tests.contract.children import Child
from tests.contract.conftest import Join
from tests.contract.engines import Engine
from tests.contract.waiting import balanced, records_from, until


def _fill(log: Log, topic: str, count: int, partitions: int, start: int = 0) -> None:
    log.append([Draft(topic, None, b"%d" % number, partition=number % partitions) for number in range(start, start + count)])


def _assigned(consumer: Consumer, partitions: set[int]) -> None:
    until(lambda: consumer.assigned == partitions, lambda: consumer.poll(1, 0.1), f"partitions {partitions}")


def test_two_members_share_the_partitions(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(4)
    one, two = join(group, name), join(group, name)
    balanced([one, two], range(4))
    assert (len(one.assigned), len(two.assigned)) == (2, 2)
    _fill(log, name, 40, 4)
    for consumer in (one, two):
        assert {record.partition for record in records_from(consumer, 20)} == consumer.assigned


def test_members_of_two_logs_share_the_partitions(
    log: Log, opened: Callable[[], Log], topic: Callable[[int], str], group: str, join: Join
) -> None:
    name = topic(4)
    balanced([join(group, name), join(group, name, log=opened())], range(4))


def test_a_member_too_many_waits_for_its_turn(topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(1)
    one, two = join(group, name), join(group, name)
    until(lambda: bool(one.assigned or two.assigned), lambda: (one.poll(1, 0.1), two.poll(1, 0.1)), "an owner")
    owner, other = (one, two) if one.assigned else (two, one)
    owner.close()
    _assigned(other, {0})


def test_what_a_member_held_goes_on_with_the_next_where_it_committed(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(2)
    _fill(log, name, 20, 2)
    one = join(group, name)
    records = records_from(one, 20)
    done = [record for record in records if record.offset <= records[len(records) // 2].offset]
    positions = {record.at: record.offset + 1 for record in done}
    one.commit([], positions).result()
    one.close()
    rest = sorted(record.value for record in records if record.offset >= positions.get(record.at, 0))
    assert sorted(record.value for record in records_from(join(group, name), len(rest))) == rest


def test_a_commit_in_on_revoked_still_succeeds(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    """Giving up partitions is announced before it happens; what was in hand is finished, and the next owner does not see it."""
    source, target = topic(4), topic(1)
    _fill(log, source, 40, 4)
    revoked: list[frozenset[int]] = []

    def finish(partitions: frozenset[int]) -> None:
        revoked.append(partitions)
        mine = [record for record in in_hand if record.partition in partitions]
        positions = {record.at: record.offset + 1 for record in mine}
        one.commit([Draft(target, None, record.value) for record in mine], positions).result()

    one = join(group, source, on_revoked=finish)
    in_hand = records_from(one, 40)
    two = join(group, source)
    got = balanced([one, two], range(4))
    assert revoked == [two.assigned]
    assert got[two] == []
    assert {int(record.value) % 4 for record in log.read(target)} == two.assigned
    assert len(list(log.read(target))) == 20


def test_gains_and_losses_are_announced_within_poll_and_close(topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(2)
    said: list[tuple[str, set[int]]] = []
    consumer = join(
        group, name, on_assigned=lambda some: said.append(("got", set(some))), on_revoked=lambda some: said.append(("gave", set(some)))
    )
    assert said == []
    _assigned(consumer, {0, 1})
    consumer.close()
    gained = set[int]().union(*(some for word, some in said if word == "got"))
    assert gained == {0, 1}
    assert said[-1] == ("gave", {0, 1})


def test_a_commit_for_a_partition_that_was_given_up_is_fenced(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    source, target = topic(2), topic(1)
    _fill(log, source, 10, 2)
    one = join(group, source)
    records = records_from(one, 10)
    two = join(group, source)
    balanced([one, two], range(2))
    stale = [record for record in records if record.partition in two.assigned]
    with pytest.raises(Fenced):
        one.commit([Draft(target, None, b"stale")], {record.at: record.offset + 1 for record in stale}).result()
    assert list(log.read(target)) == []
    one.rewind()
    fresh = records_from(one, 5)
    one.commit([Draft(target, None, b"fresh")], {record.at: record.offset + 1 for record in fresh}).result()
    assert [record.value for record in log.read(target)] == [b"fresh"]


def test_a_pause_ends_when_the_partition_is_given_up(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    name = topic(2)
    one = join(group, name)
    _assigned(one, {0, 1})
    one.pause([TopicPartition(name, 0), TopicPartition(name, 1)])
    two = join(group, name)
    balanced([one, two], range(2))
    kept, given = set(one.assigned), set(two.assigned)
    two.close()
    _assigned(one, {0, 1})
    _fill(log, name, 10, 2)
    assert {record.partition for record in records_from(one, 5)} == given
    one.resume([TopicPartition(name, partition) for partition in kept])
    assert {record.partition for record in records_from(one, 5)} == kept


def test_a_partition_of_all_its_topics_belongs_to_one_member(log: Log, topic: Callable[[int], str], group: str, join: Join) -> None:
    names = [topic(4), topic(4), topic(4)]
    one, two = join(group, *names), join(group, *names)
    balanced([one, two], range(4))
    for name in names:
        _fill(log, name, 8, 4)
    for consumer in (one, two):
        seen = {record.at for record in records_from(consumer, 12)}
        assert seen == {TopicPartition(name, partition) for name in names for partition in consumer.assigned}


def test_a_killed_members_partitions_go_on_with_another(
    log: Log, topic: Callable[[int], str], group: str, join: Join, child: Callable[..., Child]
) -> None:
    source, target = topic(4), topic(1)
    _fill(log, source, 40, 4)
    worker = child("hold", group, source, target)
    assert worker.line().startswith("holds")
    heir = join(group, source)
    worker.kill()
    assert sorted(int(record.value) for record in records_from(heir, 40)) == list(range(40))
    assert heir.assigned == {0, 1, 2, 3}


def test_a_member_that_was_frozen_past_its_session_is_fenced_and_may_begin_afresh(
    engine: Engine, log: Log, topic: Callable[[int], str], group: str, join: Join, child: Callable[..., Child]
) -> None:
    source, target = topic(4), topic(1)
    _fill(log, source, 40, 4)
    worker = child("hold", group, source, target)
    assert worker.line().startswith("holds")
    with engine.quiet():
        worker.freeze()
    heir = join(group, source)
    records = records_from(heir, 40)
    heir.commit([Draft(target, None, record.value) for record in records], {record.at: record.offset + 1 for record in records}).result()
    worker.thaw()
    worker.go_on()
    assert worker.line() == "fenced"
    while len(heir.assigned) == 4:
        heir.poll(10, 0.1)
    assert worker.line() == "back"
    worker.go_on()
    worker.finished()
    _assigned(heir, {0, 1, 2, 3})
    assert sorted(int(record.value) for record in log.read(target)) == list(range(40))


def test_a_long_decision_between_two_polls_loses_nothing(
    engine: Engine, log: Log, topic: Callable[[int], str], group: str, join: Join, opened: Callable[[], Log]
) -> None:
    """The lease is renewed beside it, for longer than a session, while another member would like to have the partitions."""
    source, target = topic(1), topic(1)
    _fill(log, source, 3, 1)
    one = join(group, source)
    records = records_from(one, 3)
    two = join(group, source, log=opened())
    end = time.monotonic() + 2 * engine.session
    while time.monotonic() < end:
        assert two.poll(10, 0.1).records == []
    one.commit([Draft(target, None, b"done")], {records[-1].at: records[-1].offset + 1}).result()
    assert [record.value for record in log.read(target)] == [b"done"]
