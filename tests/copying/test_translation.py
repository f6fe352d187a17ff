"""A record in its new place: what names a place is translated, and nothing else is touched, whatever stands there."""

from collections.abc import Iterator

import orjson
import pytest

from postroom.copying.places import Places
from postroom.copying.plan import TopicPlan
from postroom.copying.translation import Translation
from streams.faults import Newer
from streams.log import Extent
from streams.record import Headers, Record, TopicPartition
from topology.records import Topics

OLD, NEW = Topics("old"), Topics("new")
HOLE = 77
TYPE = ("ce_type", b"postroom.test")


@pytest.fixture
def translation() -> Iterator[Translation]:
    """From 2 partitions to 3. Of mail.raw, partition 1 has offsets 5 to 9, and 7 of them went to offset 3 of partition 2."""
    names = ["raw", "screened", "outcomes", "replies", "retry.bugs.1", "routed.bugs"]
    plans = {f"old.{name}": TopicPlan(f"old.{name}", f"new.{name}", 3, [Extent(0, 10), Extent(5, 10)]) for name in names}
    places = Places()
    places.note("old.raw", [(1, 7, 2, 3)])
    places.note("old.routed.bugs", [(1, 8, 0, 4)])
    holes = []

    def hole(at: TopicPartition) -> int:
        holes.append(at)
        assert len(holes) == 1  # a place that was made is found again
        return HOLE

    yield Translation(("OLD", OLD), ("NEW", NEW), plans, places, hole)
    places.close()


def place(offset: int, log: str = "OLD", partition: int = 1) -> dict[str, object]:
    return {"log": log, "topic": "old.raw", "partition": partition, "offset": offset}


def facts(offset: int, **more: object) -> bytes:
    return orjson.dumps({"version": "1.0", "envelope": {"mail_id": "m", "text": ',"raw":{'}, "raw": place(offset), "later": 1.5, **more})


def record(topic: str, value: bytes = b"", headers: Headers = (TYPE,), key: bytes | None = b"key") -> Record:
    return Record(topic, 1, 9, 1000, key, value, headers)


def test_facts_name_the_new_place_of_their_mail_and_are_else_as_they_were(translation: Translation) -> None:
    draft = translation.draft(record("old.screened", facts(7), (TYPE, ("ce_id", b"1-7.0.screened"), ("ce_source", b"/postroom/old"))))
    new = facts(7).replace(orjson.dumps(place(7)), orjson.dumps({"log": "NEW", "topic": "new.raw", "partition": 2, "offset": 3}))
    assert draft.value == new
    assert draft.headers == (TYPE, ("ce_id", b"2-3.0.screened"), ("ce_source", b"/postroom/new"))
    assert (draft.topic, draft.partition) == ("new.screened", 2)


def test_a_repeat_names_the_new_place_of_the_first(translation: Translation) -> None:
    value = facts(7, repeated={"recipients": [], "first": place(7)})
    document = orjson.loads(translation.draft(record("old.outcomes", value)).value)
    assert document["repeated"]["first"] == document["raw"] == {"log": "NEW", "topic": "new.raw", "partition": 2, "offset": 3}


def test_a_mail_that_is_gone_gets_an_empty_place(translation: Translation) -> None:
    for offset, new in ((2, 0), (6, HOLE), (6, HOLE)):
        document = orjson.loads(translation.draft(record("old.outcomes", facts(offset))).value)
        assert (document["raw"]["partition"], document["raw"]["offset"]) == (1, new)


def test_what_waits_goes_where_its_delivery_went_and_keeps_its_place_in_the_order(translation: Translation) -> None:
    origin = [translation.draft(record("old.retry.bugs.1", headers=(("pr_origin", b"%d" % offset),))) for offset in (3, 4, 8)]
    assert [dict(draft.headers)["pr_origin"] for draft in origin] == [b"-2", b"-1", b"4"]
    assert origin[2].partition == 0


def test_a_reply_names_its_original(translation: Translation) -> None:
    (header,) = translation.draft(record("old.replies", b"mail", (("pr_original", b"OLD/old.raw/1/7"),))).headers
    assert header == ("pr_original", b"NEW/new.raw/2/3")


@pytest.mark.parametrize(
    "value",
    [
        b"{",
        b"{}",
        b'{"version":"1.0","raw":7}',
        b'{"version":"1.0","envelope":{},"raw":{"log":"OLD","topic":"old.raw","partition":"1","offset":7}}',
        b'{"version":"1.0","envelope":{},"raw":{"log":"OLD","topic":"old.raw","partition":1,"offset":7,"more":1}}',
        b'{"version":"1.0","envelope":{},"repeated":7,"raw":{"log":"OLD","topic":"old.raw","partition":9,"offset":7}}',
        b'{"version":"1.0","envelope":{},"repeated":{"first":[]},"raw":{"log":"OLD","topic":"old.raw","partition":1,"offset":70}}',
        b'{"version":"1.0","envelope":{},"raw":{"log":"OTHER","topic":"old.raw","partition":1,"offset":7}}',
    ],
)
def test_what_another_program_put_there_stays_as_it_is(translation: Translation, value: bytes) -> None:
    odd: Headers = (TYPE, ("pr_original", b"\xff/x"), ("pr_origin", b"9" * 5000), ("ce_id", b"1-7"))
    for topic in ("old.screened", "old.outcomes", "old.retry.bugs.1"):
        draft = translation.draft(record(topic, value, odd))
        assert (draft.value, draft.headers) == (value, odd)
        assert draft.partition in range(3)


def test_facts_of_a_newer_version_stop_the_copy(translation: Translation) -> None:
    with pytest.raises(Newer):
        translation.draft(record("old.outcomes", facts(7).replace(b'"1.0"', b'"2.0"')))
