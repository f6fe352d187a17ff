"""The accounts' database goes away, hangs or clashes: what waits, what is tried again, and what is told."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import connection

from postroom.directory.pool import Pool
from postroom.directory.postgres import PostgresDirectory
from postroom.directory.rows import RowError
from streams.faults import Hold
from tests.database import Server
from tests.directory.conftest import Open
from tests.directory.people import ADA, ask

pytestmark = pytest.mark.postgres

ASKED = ["ada@north.example"]


def test_a_database_that_is_away_is_waited_for(opened: Open, postgres: Server) -> None:
    """Row E5: Hold each time that it is asked, and then it goes on, though the kept connections are dead."""
    directory = opened()
    directory.store.put([ADA])
    assert directory.lookup(ASKED)
    postgres.stop()
    for _ in range(2):
        with pytest.raises(Hold, match=r"^accounts: .*refused"):
            directory.lookup(ASKED)
    with pytest.raises(Hold):
        directory.keys()
    with pytest.raises(Hold):
        directory.store.put([ADA])
    postgres.start()
    assert directory.lookup(ASKED)
    assert directory.store.account("ada")


def test_a_restart_between_two_batches_is_not_even_noticed(opened: Open, postgres: Server) -> None:
    """A connection that died is replaced."""
    directory = opened()
    directory.store.put([ADA])
    for how in (signal.SIGQUIT, signal.SIGINT):
        assert directory.lookup(ASKED)
        postgres.stop(how)
        postgres.start()
    assert directory.lookup(ASKED)


def test_a_query_that_takes_too_long_is_a_database_that_is_away(opened: Open) -> None:
    slow = "SELECT 'a@x.example' AS address, 1 AS id FROM pg_sleep(60) WHERE 'a@x.example' = ANY(%(addresses)s)"
    with pytest.raises(Hold, match="statement timeout"):
        opened(query=slow, timeout=0.1).lookup(["a@x.example"])


def test_a_server_that_freezes_under_a_query_is_away(opened: Open, database: str) -> None:
    """It does not say that it is out of time, so we do; when it thaws, all is well."""
    directory = opened(timeout=0.1)
    directory.store.put([ADA])
    assert directory.lookup(ASKED)
    ((process,),) = ask(
        database, "SELECT pid FROM pg_stat_activity WHERE application_name = 'postroom accounts' AND query LIKE %s", "%ANY%"
    )
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(Hold, match="no answer within"):
            directory.lookup(ASKED)
        assert directory.lookup(ASKED), "a fresh connection can be had"
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_server_that_says_nothing_is_away(opened: Open, silent: int) -> None:
    with pytest.raises(Hold, match="timeout"):
        opened(f"postgresql://u@127.0.0.1:{silent}/x?connect_timeout=1").lookup(ASKED)


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_a_clash_is_tried_three_times_more(database: str, code: str) -> None:
    """The fourth time it succeeds; a fifth try there is not."""
    pool, tries = Pool(database, 5.0), []

    def work(db: connection) -> str:
        tries.append(db)
        if len(tries) < 4 or len(tries) > 4:
            db.cursor().execute(f"DO $$ BEGIN RAISE EXCEPTION 'clash' USING ERRCODE = '{code}'; END $$")
        return "done"

    assert pool.run(work) == "done"
    assert len(tries) == 4
    with pytest.raises(psycopg2.Error, match="clash"):
        pool.run(work)
    assert len(tries) == 8
    assert len(set(map(id, tries))) == 1, "the connection was good all the time"
    pool.close()


def test_lookups_that_clash_for_good_wait(opened: Open, database: str) -> None:
    """A standby that replays may cancel every query for a while: that is about no mail."""
    ask(
        database,
        "CREATE FUNCTION clash() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'clash' USING ERRCODE = '40001'; END $$",
    )
    with pytest.raises(Hold, match="clash"):
        opened(query="SELECT clash() AS address, 1 AS id WHERE 'a@x.example' = ANY(%(addresses)s)").lookup(["a@x.example"])


def test_a_lookup_that_kills_its_connection_each_time_is_its_mails_fault(opened: Open) -> None:
    """A fresh connection can be had, so nothing waits; other addresses are found."""
    deadly = "SELECT 'a@x.example' AS address, pg_terminate_backend(pg_backend_pid())::text AS id WHERE 'a@x.example' = ANY(%(addresses)s)"
    directory = opened(query=deadly)
    with pytest.raises(RowError, match="connection"):
        directory.lookup(["a@x.example"])
    assert directory.lookup(["b@x.example"]) == {}


def test_several_threads_ask_side_by_side(opened: Open) -> None:
    directory = opened()
    directory.store.put([ADA])
    found: list[int] = []

    def many() -> None:
        found.extend(len(directory.lookup(ASKED)) for _ in range(50))

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 200


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:1/db",
        "postgresql://u@127.0.0.1:1/db?password=hunter2",
        "host=127.0.0.1 port=1 user=u dbname=db password='hunter2' sslpassword=hunter2",
    ],
)
def test_a_password_is_in_nothing_that_is_said(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    directory = PostgresDirectory(url)
    with pytest.raises(Hold) as told:
        directory.look()
    assert "127.0.0.1" in str(told.value)
    assert directory.where == "postgresql://u@127.0.0.1:1/db"
    assert "hunter2" not in f"{told.value!r} {told.value.__cause__!r} {directory!r} {directory.where} {caplog.text}"


def test_a_server_that_quotes_the_password_is_not_quoted(opened: Open, database: str) -> None:
    """It may be in what a query's error says, too."""
    url = database.replace("postgres@", "postgres:hunter2@")
    query = "SELECT address AS id, ('hunter2' || address)::int AS address FROM unnest(%(addresses)s::text[]) address"
    with pytest.raises(RowError) as told:
        opened(url, query=query).lookup(["a@x.example"])
    assert "invalid input syntax" in str(told.value)
    assert "hunter2" not in str(told.value)
