"""`mail.db` on a real PostgreSQL: one transaction with the key and the word, so an effect happens once."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from handlers import Refuse, Reply, Retry
from handlers.database import Effects
from handlers.stage import HandlerStage
from streams.faults import Hold, Newer
from tests.handlers.kit import TOPICS, outcome_of, outcomes, routed, written
from tests.handlers.sql import ask, do, done

pytestmark = pytest.mark.postgres

MakeStage = Callable[..., HandlerStage]


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


def test_a_word_is_kept_whatever_encoding_the_database_speaks(stage: MakeStage, url: str) -> None:
    """A database of initdb's under LC_ALL=C is not UTF-8, and a handler may choose another."""

    def handle(mail: Any) -> Reply:
        mail.db.set_client_encoding("LATIN1")
        do(mail)
        return Reply("Das macht 5 € für Sie.")

    first = stage(handle, url=url).process([routed(1)])
    assert outcomes(first) == ["handled"]
    assert stage(handle, url=url).process([routed(1)]) == first
    assert done(url) == ["no. 1"]


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
