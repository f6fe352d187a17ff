"""`run --core` keeps the threads that need the interpreter on one core, and no other."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.place import Letters
from tests.onkafka.conftest import MakePlace
from tests.onkafka.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def _settled(pid: int, ours: set[int], everywhere: set[int]) -> bool:
    """Whether the client's threads may run everywhere and all others on ours alone. One that was just made has no name yet."""
    found: dict[bool, list[set[int]]] = {True: [], False: []}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found[(task / "comm").read_text().startswith("rdk:")].append(os.sched_getaffinity(int(task.name)))
    some = all(len(cores) > 5 for cores in found.values())  # a client has three at least, and each role its own
    return some and all(cores == everywhere for cores in found[True]) and all(cores == ours for cores in found[False])


def test_the_interpreters_threads_keep_to_the_core_and_the_clients_go_where_they_like(make: MakePlace, letter: Letters) -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    place = make(handlers={"foo": {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}})
    place.mail(letter("new@foo.com"))
    worker = place.start("run", "--core", str(core))
    until(lambda: len(place.maildir("foo")) == 1, "the mail to be handled")
    until(lambda: _settled(worker.pid, {core}, everywhere), "each thread to be where it belongs")
    worker.terminate()
    assert worker.wait(60) == 0
