"""How much may be in hand after a death, and what is noted of it: workers that die on a record until it is set aside."""

import pytest

from postroom.faust.notes import LARGE, Notes
from streams.log import Standing
from streams.record import Record, TopicPartition

AT = TopicPartition("mail.routed.x", 0)


def record(offset: int) -> Record:
    return Record(AT.topic, AT.partition, offset, 0, None, b"")


def taken_over(standing: int, note: str, concurrency: int = 4) -> Notes:
    notes = Notes(concurrency)
    notes.assigned({AT: Standing(standing, note)})
    return notes


def test_without_a_death_anything_may_be_in_hand_and_one_note_suffices() -> None:
    notes = taken_over(7, "")
    assert notes.may_begin(record(10_000), 7)
    assert notes.beginning(record(7)) == "1"
    notes.begun(AT)
    assert notes.beginning(record(8)) is None
    assert notes.moving({AT: 9}) == {AT: "1"}
    assert notes.taken_back() == {AT: ""}
    assert notes.beginning(record(9)) == "1"


def test_a_stop_before_anything_was_done_leaves_the_note_that_was_found() -> None:
    """Else a worker that is stopped again and again would never find what kills it."""
    notes = taken_over(7, "2+4")
    assert notes.beginning(record(7)) == "3@7"
    notes.begun(AT)
    assert notes.taken_back() == {AT: "2+4"}


def test_after_a_death_a_window_grows_until_nothing_is_suspected_any_more() -> None:
    notes = taken_over(100, "1")
    assert notes.beginning(record(100)) == "2+4"
    notes.begun(AT)
    assert notes.may_begin(record(103), 100)
    assert not notes.may_begin(record(104), 100)
    position, windows = 100, []
    while notes.is_wary(AT):
        position += 1
        windows.append(notes.moving({AT: position})[AT])
    assert list(dict.fromkeys(windows)) == ["2+4", "2+8", "2+16", "2+32", "2+64", "2+128", "2+256", f"2+{LARGE}", "1"]


@pytest.mark.parametrize(("deadly", "backlog"), [(0, 1), (3, 50), (40, 200), (700, 2000)])
def test_what_kills_its_worker_each_time_is_found_and_nothing_else(deadly: int, backlog: int) -> None:
    """A model of workers with eight deliveries at once, each dying as soon as the deadly one is begun; nothing but position and note
    survives."""
    position, note, deaths = 0, "", 0
    while position < backlog:
        notes = taken_over(position, note, 8)
        while position < backlog:
            if notes.condemned(record(position)):
                assert position == deadly
                position += 1
                note = notes.moving({AT: position})[AT]
                continue
            alone = notes.must_be_alone(record(position))
            hand = [
                offset
                for offset in range(position, min(position + (1 if alone else 8), backlog))
                if notes.may_begin(record(offset), position)
            ]
            if (begins := notes.beginning(record(position))) is not None:
                note = begins
                notes.begun(AT)
            if deadly in hand:
                deaths += 1
                break
            position = hand[-1] + 1
            note = notes.moving({AT: position})[AT]
    assert 3 <= deaths <= 5
