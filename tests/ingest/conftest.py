"""A real log file, a real archive folder and the acceptor on them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.ingest.accept import Acceptor
from tests.ingest.bucket import Bucket, serving
from tests.ingest.listening import Listening
from tests.ingest.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Where mails go in this test."""
    with Place(tmp_path) as opened:
        yield opened


@pytest.fixture
def acceptor(place: Place) -> Acceptor:
    """Accepts mails up to 100,000 octets; those above 20,000 go to the archive."""
    return place.acceptor()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket that obstore finds by the usual environment."""
    with serving() as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.endpoint)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield served


@pytest.fixture
def lmtp(place: Place) -> Iterator[Listening]:
    """A running LMTP listener."""
    with Listening(place, "lmtp") as listening:
        yield listening


@pytest.fixture
def smtp(place: Place) -> Iterator[Listening]:
    """A running SMTP listener."""
    with Listening(place, "smtp") as listening:
        yield listening
