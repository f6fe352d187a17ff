"""A real PostgreSQL for tests, from the server that is installed: on a free port of the loopback, without fsync, gone when the run is.

Use it by `from tests.database import postgres` (or `database`) in a conftest or a test file; one server serves the whole session.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psycopg2
import pytest

from tests.broker.broker import free_port

START_SECONDS = 60
"""How long the server may take to answer; it takes a quarter of a second on an idle machine."""

# Waits for the end of its stdin, which comes however the tests end, kill -9 included, then stops the server and removes its data.
_GUARD = """
import os, shutil, signal, sys, time
folder = sys.argv[1]
sys.stdin.read()
try:
    pid = int(open(folder + "/data/postmaster.pid").readline())
    os.kill(pid, signal.SIGQUIT)
    for _ in range(200):
        os.kill(pid, 0)
        time.sleep(0.05)
except (OSError, ValueError):
    pass
shutil.rmtree(folder, ignore_errors=True)
"""


def binaries() -> Path | None:
    """The folder of the server's programs: of those on PATH, else the newest that Debian installs, or None."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: float(path.parent.name), default=None)


def _user() -> str | None:
    """Whom the server runs as: PostgreSQL refuses to run as root. None: as we are."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """One PostgreSQL server with its data. `stop` and `start` again keep the data and the port."""

    def __init__(self, programs: Path) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postroom-pg-"))
        self._programs = programs
        self._user = _user()
        self._process: subprocess.Popen[bytes] | None = None
        # Both in sessions of their own, so that Ctrl-C reaches the tests first and not what they stand on.
        self._guard = subprocess.Popen([sys.executable, "-c", _GUARD, str(self.folder)], stdin=subprocess.PIPE, start_new_session=True)
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def url(self, database: str = "postgres") -> str:
        """Where a database of the server is, for psycopg2."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database of one's own."""
        name = f"t{uuid.uuid4().hex}"
        connection = psycopg2.connect(self.url())
        try:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        return self.url(name)

    def start(self) -> None:
        """Starts it (again) and returns when it answers."""
        if self._process is not None:
            return
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), "-p", str(self.port), "-F"]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50", "-c", "shared_buffers=16MB"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._user,
                extra_groups=[] if self._user else None,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg2.connect(self.url(), connect_timeout=2).close()
            except psycopg2.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{(self.folder / 'server.log').read_text()[-3000:]}") from None
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """Stops it and returns when it is gone. how: SIGQUIT at once, as a crash (connections break, recovery follows); SIGINT
        with connections closed in order."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """Stops it for good; the data is removed."""
        self.stop()
        assert self._guard.stdin
        self._guard.stdin.close()
        self._guard.wait()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            cwd="/",
            user=self._user,
            extra_groups=[] if self._user else None,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode()}")


@cache
def _server(programs: Path) -> Server:
    # However many modules ask for the fixture, the run has one server.
    server = Server(programs)
    atexit.register(server.end)
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres() -> Server:
    """The server of this run, running. Without one installed the test is skipped, and with CI=true it fails."""
    programs = binaries()
    if programs is None:
        word = "no PostgreSQL server: install it (on Debian: apt install postgresql), or put initdb on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(word)
        pytest.skip(word)
    server = _server(programs)
    server.start()
    return server


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The URL of an empty database; the server runs again afterwards, whatever the test did to it."""
    yield postgres.new_database()
    postgres.start()
