"""What a handler on Faust says, as it stands on mail.said.<name>."""

import orjson
import pytest

from handlers import Attachment, Reply
from handlers.said import Telling, id_of, said_draft, telling
from handlers.word import HANDLED, Said
from streams.faults import Newer
from streams.record import Position, Record
from streams.stage import Again, Failure
from tests.handlers.kit import NOW_MS, TOPICS, routed
from topology.records import facts_of

MAIL = Position("log", "mail.routed.test", 3, 17)
WORDS = [
    HANDLED,
    Said("handled", reply=Reply("thanks", "about it", headers={"X-A": "b"}, attachments=(Attachment("a.bin", b"\x00\xff", "image/png"),))),
    Said("failed", "handler-error", "RuntimeError: odd \u2028 text", "00ff"),
    Said("returned", "refused", "no such bug"),
    Again("later", after=12.5),
    Again("too slow", timeout=True),
    Failure("crashed", attempts=2),
]


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_read_as_it_was_written(word: Said | Again | Failure) -> None:
    told = Telling(word, 2, "2026-01-01T00:00:00.000Z", MAIL, "Traceback …")
    assert Telling.decode(told.encode()) == told


def test_a_newer_version_is_not_guessed_at() -> None:
    document = orjson.loads(Telling(HANDLED, 1, "2026-01-01T00:00:00.000Z", MAIL).encode())
    with pytest.raises(Newer, match="upgrade"):
        Telling.decode(orjson.dumps(document | {"version": 2}))


def test_the_traceback_goes_along_but_not_endlessly() -> None:
    def deep(level: int) -> None:
        if not level:
            raise RuntimeError("x" * 200_000)
        deep(level - 1)

    try:
        deep(300)
    except RuntimeError as error:
        told = telling(Said("failed", "handler-error", "", "", error=error), routed(), "log", NOW_MS)
    read = Telling.decode(told.encode()).traceback
    assert read
    assert len(read) <= 64 * 1024


def test_a_record_stands_in_the_partition_of_its_delivery_and_names_the_try() -> None:
    """So that tellings of one try meet, and are known without reading the JSON."""
    record = routed(5)._replace(partition=3)
    facts = facts_of(record)
    draft = said_draft(TOPICS, "test", record, facts, telling(HANDLED, record, "log", NOW_MS))
    assert (draft.topic, draft.partition, draft.key) == ("mail.said.test", 3, record.key)
    stored = Record(draft.topic, 3, 0, NOW_MS, draft.key, draft.value, draft.headers)
    assert facts_of(stored) == facts
    assert facts.route
    assert id_of(stored) == f"{facts.route.delivery_id}.0.1.said".encode()
