"""`mail.db` on a real PostgreSQL: one transaction with the key and the word, so an effect happens once."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest

from handlers import Refuse, Reply, Retry
from handlers.database import Effects, fault
from handlers.stage import HandlerStage
from streams.faults import Hold, Newer
from tests.database import Server
from tests.handlers.cutting import CuttingProxy
from tests.handlers.kit import TOPICS, outcome_of, outcomes, routed, written

pytestmark = pytest.mark.postgres

MakeStage = Callable[..., HandlerStage]


@pytest.fixture
def url(database: str) -> str:
    """A database with a table of the handlers' own."""
    ask(database, "CREATE TABLE done (what text)")
    return database


def ask(url: str, sql: str) -> list[Any]:
    """Runs SQL outside any handler, committed."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def done(url: str) -> list[str]:
    """What the handlers did, and that is committed."""
    return [what for (what,) in ask(url, "SELECT what FROM done ORDER BY what")]


def do(mail: Any, sql: str = "INSERT INTO done VALUES (%s)") -> None:
    """A handler's work: one row with the mail's subject."""
    with mail.db.cursor() as cursor:
        cursor.execute(sql, (mail.message["subject"],) if "%s" in sql else None)


def test_failing_sql_is_the_fault_of_its_mail_alone(stage: MakeStage, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Row A10: division by zero fails one mail, logged with its traceback; the next is handled, its own work unharmed."""

    def handle(mail: Any) -> None:
        do(mail)
        if mail.message["subject"] == "no. 1":
            do(mail, "SELECT 1/0")

    results = stage(handle, url=url).process([routed(1), routed(2)])
    assert outcomes(results) == ["failed handler-error", "handled"]
    assert "DivisionByZero" in outcome_of(results[0]).detail
    assert len(written(results[0], TOPICS.failures)) == 1
    assert "1/0" in caplog.text
    assert done(url) == ["no. 2"]


def test_a_repeat_takes_the_word_that_was_said_instead_of_calling(stage: MakeStage, url: str) -> None:
    """Also by another worker, and with the Reply, which goes out the same again."""
    calls = []

    def handle(mail: Any) -> Reply:
        do(mail)
        calls.append(mail.id)
        return Reply(f"Done for the {len(calls)}. time.")

    first = stage(handle, url=url).process([routed(1)])
    again = stage(handle, url=url).process([routed(1), routed(2)])
    assert again[0] == first[0]
    assert outcomes(again) == ["handled", "handled"]
    assert len(calls) == 2
    assert done(url) == ["no. 1", "no. 2"]


def test_a_batch_looks_its_keys_up_at_once(stage: MakeStage, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query for all of them, however many."""
    made = stage(lambda _mail: None, url=url)
    asked: list[int] = []
    read = Effects.read

    def counted(self: Effects, db: Any, keys: Any) -> Any:
        asked.append(len(keys))
        return read(self, db, keys)

    monkeypatch.setattr(Effects, "read", counted)
    made.process([routed(n) for n in range(50)])
    assert asked == [50]


def test_a_redo_does_it_again_and_a_plain_replay_does_not(stage: MakeStage, url: str) -> None:
    """The key of a redo names its generation."""
    made = stage(do, url=url)
    replays: list[dict[str, Any]] = [{}, {"generation": 4}, {"generation": 4, "redo": True}, *[{"generation": 5, "redo": True}] * 2]
    for known in replays:
        assert outcomes(made.process([routed(1, **known)])) == ["handled"]
    assert done(url) == ["no. 1"] * 3


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (ValueError("broken"), "failed handler-error"),
        (False, "failed handler-false"),
        (Refuse("no"), "returned refused"),
        (Retry(), "again"),
    ],
    ids=["error", "false", "refuse", "retry"],
)
def test_what_was_not_handled_is_rolled_back_and_may_be_called_again(stage: MakeStage, url: str, value: Any, word: str) -> None:
    """Nothing is recorded of it, so a replay calls the mended handler."""
    mended = False

    def handle(mail: Any) -> Any:
        do(mail)
        if isinstance(value, Exception) and not mended:
            raise value
        return value if not mended else None

    made = stage(handle, url=url)
    assert outcomes(made.process([routed(1)])) == [word]
    assert done(url) == []
    mended = True
    assert outcomes(made.process([routed(1)])) == ["handled"]
    assert done(url) == ["no. 1"]


def _with(mail: Any) -> None:
    with mail.db:
        do(mail)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "commit": lambda mail: mail.db.commit(),
    "rollback": lambda mail: mail.db.rollback(),
    "close": lambda mail: mail.db.close(),
    "reset": lambda mail: mail.db.reset(),
    "with": _with,
    "autocommit": lambda mail: setattr(mail.db, "autocommit", True),
    "isolation_level": lambda mail: setattr(mail.db, "isolation_level", 3),
    "set_session": lambda mail: mail.db.set_session(autocommit=True),
    "tpc_begin": lambda mail: mail.db.tpc_begin("x"),
    "COMMIT": lambda mail: do(mail, "COMMIT"),
    "ROLLBACK": lambda mail: do(mail, "ROLLBACK"),
}


@pytest.mark.parametrize("way", REFUSED)
def test_a_handler_cannot_end_the_transaction(stage: MakeStage, url: str, way: str) -> None:
    """It would part the effect from its key; it is told so, and the next mail is handled."""

    def handle(mail: Any) -> None:
        do(mail)
        if mail.message["subject"] == "no. 1":
            REFUSED[way](mail)

    results = stage(handle, url=url).process([routed(1), routed(2)])
    assert outcomes(results) == ["failed handler-error", "handled"]
    assert "postroom" in outcome_of(results[0]).detail
    assert "no. 2" in done(url)
    if way != "COMMIT":  # which the server has done before anybody could object
        assert done(url) == ["no. 2"]


def test_sql_that_failed_and_was_swallowed_is_a_failure(stage: MakeStage, url: str) -> None:
    """The transaction is lost, so what the handler says of it cannot count."""

    def handle(mail: Any) -> None:
        do(mail)
        try:
            do(mail, "SELECT 1/0")
        except psycopg2.Error:
            return

    assert outcomes(stage(handle, url=url).process([routed(1)])) == ["failed handler-error"]
    assert done(url) == []


def test_a_savepoint_is_the_handlers_own_affair(stage: MakeStage, url: str) -> None:
    """It is how a part can fail and the rest be kept."""

    def handle(mail: Any) -> None:
        do(mail)
        do(mail, "SAVEPOINT part")
        try:
            do(mail, "SELECT 1/0")
        except psycopg2.Error:
            do(mail, "ROLLBACK TO SAVEPOINT part")

    assert outcomes(stage(handle, url=url).process([routed(1)])) == ["handled"]
    assert done(url) == ["no. 1"]


def test_without_a_database_mail_db_says_what_to_set(stage: MakeStage) -> None:
    """The handler's error names the setting."""
    (result,) = stage(do).process([routed(1)])
    assert "[handlers.test] database" in outcome_of(result).detail


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
    """The words said are written, the rest follows later as if it had not been begun."""

    def handle(mail: Any) -> None:
        do(mail)
        if mail.message["subject"] == "no. 2":
            postgres.stop()

    made = stage(handle, url=url)
    assert outcomes(made.process([routed(1), routed(2), routed(3)])) == ["handled", "follows", "follows"]
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


# -- the table -------------------------------------------------------------------------------------------------------


def test_many_workers_make_the_table_at_once(database: str) -> None:
    """None of them fails, on an empty database."""
    workers = [Effects(database, f"h{n}", 60) for n in range(8)]
    ready, failed = threading.Barrier(8), []

    def work(effects: Effects) -> None:
        ready.wait(timeout=30)
        try:
            effects.known(["key"])
        except Exception as error:
            failed.append(error)
        effects.close()

    threads = [threading.Thread(target=work, args=(effects,)) for effects in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_table_of_a_newer_version_stops_the_role(database: str) -> None:
    """With a clear word, and without touching it."""
    Effects(database, "test", 60).known([])
    ask(database, "COMMENT ON TABLE postroom_effects IS 'postroom; version 9'")
    with pytest.raises(Newer, match="version 9"):
        Effects(database, "test", 60).known([])


def test_a_table_of_somebody_else_is_left_alone(database: str) -> None:
    """The role waits, and the log says why."""
    ask(database, "CREATE TABLE postroom_effects (x int)")
    with pytest.raises(Hold, match="not ours"):
        Effects(database, "test", 60).known([])


def test_the_table_is_found_whatever_a_handler_does_to_its_search_path(stage: MakeStage, url: str) -> None:
    """The schema is looked up once and named from then on."""
    ask(url, "CREATE SCHEMA other")
    made = stage(lambda mail: do(mail, "SET search_path = other"), url=url)
    assert outcomes(made.process([routed(1), routed(2)])) == ["handled", "handled"]


# -- the setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2/x@localhost/db",
        "postgresql://u:hunter2@x@localhost/db",
        "host=localhost password='hunter2",
        "postgresql://u:hunter2@localhost:http/db",
        "host=localhost pasword=hunter2",
        "hunter2",
    ],
)
def test_a_misspelt_address_is_told_without_its_password(url: str) -> None:
    """libpq quotes what it does not understand, and that may be half a password."""
    said = fault(url)
    assert said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss@localhost/db",
        "host=/run/postgresql dbname=x",
        "postgresql:///db",
        "postgresql://a:1,b:2/db",
        "postgresql://a,b/db",
    ],
)
def test_a_good_address_has_no_fault(url: str) -> None:
    """All forms that libpq knows."""
    assert fault(url) is None


def test_a_password_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What the runner logs of a database that is away names host and port, and no secret."""
    with pytest.raises(Hold) as held:
        Effects("postgresql://u:hunter2@127.0.0.1:1/db", "test", 60).known([])
    assert "127.0.0.1" in str(held.value)
    assert "hunter2" not in f"{held.value!r} {held.value.__cause__} {caplog.text}"
