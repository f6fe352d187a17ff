"""The `database` setting: what is wrong with it is told, and never its password."""

import pytest

from handlers.connection import fault
from handlers.database import Effects
from streams.faults import Hold


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
