"""`mail.db` when the server goes, when deliveries clash, and when time runs out: an effect still happens once."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from handlers import Reply
from handlers.stage import HandlerStage
from streams.faults import Hold
from tests.database import Server
from tests.handlers.cutting import CuttingProxy
from tests.handlers.kit import TOPICS, outcomes, routed, written
from tests.handlers.sql import ask, do, done

pytestmark = pytest.mark.postgres

MakeStage = Callable[..., HandlerStage]


# -- the database goes away ------------------------------------------------------------------------------------------


def test_a_database_that_is_away_holds_the_role_and_nothing_fails(stage: MakeStage, url: str, postgres: Server) -> None:
    """Row E5: no outcome meanwhile, and then it goes on, though the kept connections are dead."""
    made = stage(do, url=url)
    assert outcomes(made.process([routed(1)])) == ["handled"]
    postgres.stop()
    for _ in range(2):
        with pytest.raises(Hold, match="database of handler test"):
            made.process([routed(2)])
    postgres.start()
    assert outcomes(made.process([routed(2)])) == ["handled"]
    assert done(url) == ["no. 1", "no. 2"]


def test_a_database_that_goes_away_within_a_batch_keeps_what_was_done(stage: MakeStage, url: str, postgres: Server) -> None:
    """The words said are written, the rest comes again as if it had not been begun."""

    def handle(mail: Any) -> None:
        do(mail)
        if mail.message["subject"] == "no. 2":
            postgres.stop()

    made = stage(handle, url=url)
    assert outcomes(made.process([routed(1), routed(2), routed(3)])) == ["handled"]
    with pytest.raises(Hold):
        made.process([routed(2)])
    postgres.start()
    assert done(url) == ["no. 1"]


def test_a_server_that_restarts_under_a_handler_costs_a_second_call(stage: MakeStage, url: str, postgres: Server) -> None:
    """Its transaction was rolled back, so it is called again on a fresh connection."""
    calls = []

    def handle(mail: Any) -> None:
        do(mail)
        calls.append(mail.id)
        if len(calls) == 1:
            postgres.stop()
            postgres.start()
        do(mail, "SELECT 1")

    assert outcomes(stage(handle, url=url).process([routed(1)])) == ["handled"]
    assert len(calls) == 2
    assert done(url) == ["no. 1"]


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    """The database behind a way that breaks when it is told to."""
    made = CuttingProxy(url)
    yield made
    made.close()


def test_a_commit_whose_answer_is_lost_is_found_by_its_key(stage: MakeStage, url: str, proxy: CuttingProxy) -> None:
    """The server committed and nobody heard of it: the handler is not called again."""
    calls = []

    def handle(mail: Any) -> Reply:
        do(mail)
        calls.append(mail.id)
        proxy.armed.set()
        return Reply(f"call {len(calls)}")

    (result,) = stage(handle, url=proxy.url).process([routed(1)])
    assert outcomes([result]) == ["handled"]
    assert b"call 1" in written(result, TOPICS.answers)[0].value
    assert proxy.cuts == 1
    assert len(calls) == 1
    assert done(url) == ["no. 1"]


def test_the_last_commit_is_looked_up_too(stage: MakeStage, url: str, proxy: CuttingProxy) -> None:
    """After three calls that lost their connection on the way, the fourth loses only the answer to its commit."""
    calls = []

    def handle(mail: Any) -> None:
        do(mail)
        calls.append(mail.id)
        if len(calls) <= 3:
            do(mail, "SELECT pg_terminate_backend(pg_backend_pid())")
        proxy.armed.set()

    assert outcomes(stage(handle, url=proxy.url).process([routed(1)])) == ["handled"]
    assert (len(calls), proxy.cuts) == (4, 1)
    assert done(url) == ["no. 1"]


def test_a_query_that_kills_its_connection_each_time_is_the_mails_fault(stage: MakeStage, url: str) -> None:
    """A fresh connection can be had, so the role does not wait; the next mail is handled."""
    calls = []

    def handle(mail: Any) -> None:
        if mail.message["subject"] == "no. 1":
            calls.append(mail.id)
            do(mail, "SELECT pg_terminate_backend(pg_backend_pid())")

    assert outcomes(stage(handle, url=url).process([routed(1), routed(2)])) == ["failed handler-error", "handled"]
    assert len(calls) == 4


# -- clashes ---------------------------------------------------------------------------------------------------------


def test_of_two_deliveries_in_a_deadlock_both_are_handled(stage: MakeStage, url: str) -> None:
    """The server ends one of them (at times both), and that is called again."""
    ask(url, "INSERT INTO done VALUES ('row 1'), ('row 2')")
    both = threading.Barrier(2)
    calls: list[str] = []

    def handle(mail: Any) -> None:
        mine = str(mail.message["subject"])[-1]
        calls.append(mine)
        do(mail, f"UPDATE done SET what = what || '+' WHERE what LIKE 'row {mine}%'")
        if len(calls) <= 2:
            both.wait(timeout=30)
        do(mail, f"UPDATE done SET what = what || '+' WHERE what LIKE 'row {3 - int(mine)}%'")

    records = [routed(1, recipient="1@foo.example"), routed(2, recipient="2@foo.example")]
    assert outcomes(stage(handle, url=url, concurrency=2).process(records)) == ["handled", "handled"]
    assert done(url) == ["row 1++", "row 2++"]
    assert len(calls) > 2


def test_a_serialisation_failure_is_tried_three_times_more(stage: MakeStage, url: str) -> None:
    """Then it is the mail's failure; wrapped in an error of the handler's own it is known all the same."""
    calls = []

    def handle(mail: Any) -> None:
        calls.append(mail.id)
        try:
            do(mail, "DO $$ BEGIN RAISE EXCEPTION 'clash' USING ERRCODE = '40001'; END $$")
        except psycopg2.Error as error:
            raise LookupError("could not find it") from error

    assert outcomes(stage(handle, url=url).process([routed(1)])) == ["failed handler-error"]
    assert len(calls) == 4


def test_of_two_workers_on_one_delivery_one_takes_effect(stage: MakeStage, url: str) -> None:
    """A worker taken for dead and its successor: the second finds the key when it wants to commit, and takes that word."""
    both = threading.Barrier(2)
    calls: list[str] = []

    def handle(mail: Any) -> Reply:
        do(mail)
        calls.append(mail.id)
        both.wait(timeout=30)
        return Reply(f"by {threading.get_ident()}")

    stages = [stage(handle, url=url) for _ in range(2)]
    for made in stages:  # so that both look their keys up before either has committed
        made.process([])
    results: list[Any] = []
    threads = [threading.Thread(target=lambda made=made: results.extend(made.process([routed(1)]))) for made in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 2
    assert results[0] == results[1]
    assert done(url) == ["no. 1"]


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True], ids=["def", "async def"])
def test_what_a_late_handler_did_is_rolled_back(stage: MakeStage, url: str, later: bool) -> None:
    """Its connection is cut, so that even when it comes back it cannot commit; the next try does it once."""
    gate, back = threading.Event(), threading.Event()

    def handle(mail: Any) -> None:
        do(mail)
        if not gate.is_set():
            gate.wait()
            back.set()

    async def handle_later(mail: Any) -> None:
        handle(mail)

    made = stage(handle_later if later else handle, url=url, limit=0.3)
    if later:
        made._handler._loop._grace = 0.2  # type: ignore[attr-defined]
    assert outcomes(made.process([routed(1)])) == ["timeout"]
    gate.set()
    back.wait()
    assert outcomes(made.process([routed(1)])) == ["handled"]
    assert done(url) == ["no. 1"]


def test_a_query_of_a_late_handler_ends_on_the_server(stage: MakeStage, url: str) -> None:
    """It holds no locks for longer than the next look at it."""

    def handle(mail: Any) -> None:
        do(mail, "SELECT pg_sleep(600)")

    assert outcomes(stage(handle, url=url, limit=0.5).process([routed(1)])) == ["timeout"]
    waited = threading.Event()
    for _ in range(300):
        if not ask(url, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%' AND state = 'active'"):
            break
        waited.wait(0.05)
    else:
        pytest.fail("the query still runs")


def test_a_coroutine_has_the_database_too(stage: MakeStage, url: str) -> None:
    """As a plain function."""

    async def handle(mail: Any) -> None:
        do(mail)

    made = stage(handle, url=url)
    for _ in range(2):
        assert outcomes(made.process([routed(1), routed(2)])) == ["handled", "handled"]
    assert done(url) == ["no. 1", "no. 2"]


def test_coroutines_that_want_one_row_do_not_keep_each_other_from_being_committed(stage: MakeStage, url: str) -> None:
    """SQL blocks the loop: whoever waits there for a lock must find it held by nobody whose commit needs that loop."""
    ask(url, "INSERT INTO done VALUES ('one')")

    async def handle(mail: Any) -> None:
        await asyncio.sleep(0.01)
        do(mail, "UPDATE done SET what = what")
        do(mail)

    made = stage(handle, url=url, concurrency=8)
    mails = [routed(number, recipient=f"box{number}@foo.com") for number in range(1, 9)]
    assert outcomes(made.process(mails)) == ["handled"] * 8
    assert len(done(url)) == 9
