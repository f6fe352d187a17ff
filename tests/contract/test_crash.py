"""kill -9 in the middle of commits: whatever the moment, each record is moved exactly once."""

import random
from collections.abc import Callable

from streams.log import Log
from streams.record import Draft
from tests.contract.children import Child
from tests.contract.engines import Engine
from tests.contract.waiting import until

COUNT = 3000


def test_each_record_is_moved_exactly_once_however_often_the_worker_is_killed(
    engine: Engine, log: Log, topic: Callable[[int], str], group: str, child: Callable[..., Child]
) -> None:
    source, target = topic(3), topic(3)
    log.append([Draft(source, b"%d" % number, b"%d" % number) for number in range(COUNT)])
    ends = {record.at: record.offset for record in log.read(source)}
    for _ in range(engine.kills):
        worker = child("move", group, source, target)
        # Killed somewhere in the midst of what it does after so many commits were given: before the transaction, in it, or after.
        for _ in range(random.randrange(1, 12)):
            worker.line()
        worker.kill()
    worker = child("move", group, source, target)
    until(lambda: all(log.standings(group, [source])[at].offset > last for at, last in ends.items()), worker.line, "the end of the topic")
    worker.kill()
    assert sorted(int(record.value) for record in log.read(target)) == list(range(COUNT))
