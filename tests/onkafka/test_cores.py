"""`run --core` keeps the threads that need the interpreter on one core, and no other."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.place import Letters
from tests.onkafka.conftest import MakePlace
from tests.onkafka.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def test_the_interpreters_threads_keep_to_the_core_and_the_clients_go_where_they_like(make: MakePlace, letter: Letters) -> None:
    everywhere = os.sched_getaffinity(0)
    core = max(everywhere)
    place = make(handlers={"foo": {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}})
    place.mail(letter("new@foo.com"))
    worker = place.start("run", "--core", str(core))
    until(lambda: len(place.maildir("foo")) == 1, "the mail to be handled")
    found: dict[bool, list[set[int]]] = {True: [], False: []}
    for task in Path(f"/proc/{worker.pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found[(task / "comm").read_text().startswith("rdk:")].append(os.sched_getaffinity(int(task.name)))
    assert len(found[True]) > 5  # a client has three at least, and each role its own
    assert all(cores == everywhere for cores in found[True])
    assert len(found[False]) > 5
    assert all(cores == {core} for cores in found[False])
    worker.terminate()
    assert worker.wait(60) == 0


def test_a_core_that_is_not_there_is_refused(make: MakePlace) -> None:
    place = make()
    place.run("run", "--core", str(max(os.sched_getaffinity(0)) + 1), status=2)
    assert "--core" in place.stderr
    assert "there is no core" in " ".join(place.stderr.replace("│", " ").split())
