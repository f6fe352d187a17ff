"""The services of docker-compose.yml, each as a process, on a real broker and a real PostgreSQL."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # its way to export

from tests.acceptance.calls import POSTROOM
from tests.compose.compose import CLONE, ours, services
from tests.database import database, postgres
from tests.onkafka.waiting import lmtp, until
from tests.replies.relays import Moods, free_port, relay

__all__ = ["database", "postgres"]

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.xdist_group("kafka")]


def test_every_kafka_variable_is_a_setting_of_the_broker(admin: AdminClient) -> None:
    node = str(next(iter(admin.list_topics(timeout=10).brokers)))
    resource = ConfigResource(ConfigResource.Type.BROKER, node)
    known = set(admin.describe_configs([resource])[resource].result())
    asked = {name.removeprefix("KAFKA_").replace("_", ".").lower() for name in services()["kafka"].environment}
    assert asked
    assert asked <= known


@contextmanager
def running(cwd: Path, env: dict[str, str]) -> Iterator[None]:
    """All roles as compose starts them; stopped as compose stops them."""
    workers = [
        subprocess.Popen([POSTROOM, *service.command], cwd=cwd, env=env, stdin=subprocess.DEVNULL)
        for service in ours()
        if service.command[0] == "run"
    ]
    try:
        yield
        assert [worker.poll() for worker in workers] == [None] * len(workers)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(60) for worker in workers] == [0] * len(workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_a_mail_goes_through_all_services_and_is_answered(address: str, database: str, tmp_path: Path) -> None:
    by_name = services()
    for service in ours():
        cwd = service.lay_out(tmp_path)
    with psycopg2.connect(database) as connection:
        connection.cursor().execute((CLONE / "examples" / "bugtracker.sql").read_text())
    connection.close()
    ingest, outgoing, sink = free_port(), free_port(), Moods()
    # Other places than in the containers; all else is as there.
    env = (
        os.environ
        | by_name["lmtp"].environment
        | {
            "POSTROOM_LOG__URL": f"kafka://{address}",
            "POSTROOM_LOG__PREFIX": f"compose-{uuid.uuid4().hex}",
            "POSTROOM_HANDLERS__BUGS__DATABASE": database,
            "POSTROOM_INGEST__LMTP": f"127.0.0.1:{ingest}",
            "POSTROOM_REPLIES__SMTP": f"smtp://127.0.0.1:{outgoing}",
        }
    )

    def postroom(*words: str) -> str:
        done = subprocess.run([POSTROOM, *words], cwd=cwd, env=env, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    postroom(*by_name["topics"].command)
    with relay(sink, outgoing), running(cwd, env):
        with lmtp(ingest) as client:
            hello = (CLONE / "examples" / "compose" / "hello.eml").read_text()
            assert client.sendmail("ada@example.org", ["new@bugs.example.org"], hello) == {}
        until(lambda: bool(sink.taken), "the reply")
    assert b"Bug 1 has your comment." in sink.taken[0].content
    assert '"lost":0' in postroom("fsck", "--json")
    assert "handled" in postroom("list")
