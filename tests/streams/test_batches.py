"""Records in batches: what goes in comes out, whatever is erased or revised between."""

from collections.abc import Mapping
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Fatal, TooLarge
from streams.log import Revision
from streams.record import Draft, Record
from streams.sqlite.batches import MOST_BYTES, MOST_RECORDS, BatchRow, Pile, entries, once_in, pack, record_in, revised
from streams.sqlite.headers import _FEW, LONGEST_ALIKE, _known_layout, _known_layouts
from streams.sqlite.slots import Topic

TOPICS = {"a": Topic(1, "a", 1), "b": Topic(2, "b", 3)}
TIME = 1_772_445_600_000

octets = st.binary(max_size=20)
headers = st.lists(st.tuples(st.sampled_from(("h", "ce_id", "ce_facts")), octets), max_size=3).map(tuple)
drafts = st.builds(
    lambda key, value, headers, carried, shared, unique: Draft(
        "a", key, value, headers, 0, carried, sha256(value).digest() if shared else None, unique
    ),
    st.none() | octets,
    octets,
    headers,
    st.booleans(),
    st.booleans(),
    st.none() | octets,
)


def packed(*some: Draft) -> list[Pile]:
    return pack(some, TOPICS.__getitem__, 0, 1 << 30)


def places(pile: Pile) -> dict[bytes, int]:
    return {digest: number for number, digest in enumerate(sorted(pile.contents), start=1)}


def records(batch: BatchRow, contents: Mapping[bytes, bytes]) -> list[Record]:
    return [record_in("a", batch.time, batch.body, entry, contents) for entry in entries(batch.first, batch.body)]


def stored(pile: Pile) -> tuple[int, list[Record], list[bytes | None]]:
    """What can be read of a pile that was stored: of the same records there may be several bodies."""
    batch = pile.batch(0, TIME, places(pile))
    return batch.live, records(batch, pile.contents), [once_in(batch.body, entry) for entry in entries(0, batch.body)]


@given(st.lists(drafts, min_size=1, max_size=10))
def test_what_is_put_in_comes_out(some: list[Draft]) -> None:
    (pile,) = packed(*some)
    batch = pile.batch(TOPICS["a"].slot(0) << 38 | 7, TIME, places(pile))
    expected = [
        Record("a", 0, 7 + number, TIME, one.key, one.value, one.headers, one.carried, one.digest) for number, one in enumerate(some)
    ]
    assert records(batch, pile.contents) == expected
    assert batch.live == (not all(one.carried for one in some))
    assert [once_in(batch.body, entry) for entry in entries(batch.first, batch.body)] == [one.unique or None for one in some]


@given(st.lists(drafts, min_size=1, max_size=10), st.data())
def test_what_is_revised_changes_and_the_rest_stays_where_it_is(some: list[Draft], data: st.DataObject) -> None:
    (pile,) = packed(*some)
    change = st.none() | st.builds(Revision, octets, headers)
    changes = data.draw(st.dictionaries(st.integers(0, len(some) + 2), change))
    before = records(batch := pile.batch(0, TIME, places(pile)), pile.contents)
    after = revised(batch, changes)
    expected = []
    for record in before:
        new = changes.get(record.offset, record)
        if isinstance(new, Revision):
            expected.append(record._replace(value=new.value, headers=new.headers, digest=None))
        elif new is not None:
            expected.append(record)
    assert [record for row in after for record in records(row, pile.contents)] == expected
    kept = [once_in(row.body, entry) for row in after for entry in entries(row.first, row.body)]
    assert kept == [some[record.offset].unique or None for record in expected]
    assert [row.first for row in after] == [record.offset for record in expected[:1]]
    assert all(row.live == (not all(one.carried for one in expected)) for row in after)


def test_what_grows_when_it_is_revised_goes_into_several() -> None:
    (pile,) = packed(*[Draft("a", None, b"", carried=number < 2) for number in range(4)])
    large = Revision(bytes(MOST_BYTES + 1), ())
    after = revised(pile.batch(5, TIME, {}), {5: None, 6: large, 7: large})
    assert [(row.first, row.live, len(records(row, {}))) for row in after] == [(6, 0, 1), (7, 1, 1), (8, 1, 1)]


@given(st.lists(drafts, min_size=1, max_size=10), st.data())
def test_a_pile_without_some_is_what_the_others_make(some: list[Draft], data: st.DataObject) -> None:
    out = data.draw(st.sets(st.integers(0, len(some) - 1)))
    (pile,) = packed(*some)
    left = pile.without(out)
    others = [one for rank, one in enumerate(some) if rank not in out]
    if not others:
        assert not left
        return
    (expected,) = packed(*others)
    assert stored(left) == stored(expected)
    assert left.marks == expected.marks
    assert left.contents == expected.contents
    assert left.numbers == [rank for rank in range(len(some)) if rank not in out]


@given(st.lists(drafts, min_size=1, max_size=5), st.lists(drafts, min_size=1, max_size=5))
def test_a_pile_behind_another_is_what_both_together_make(some: list[Draft], more: list[Draft]) -> None:
    (pile,), (behind,), (expected,) = packed(*some), packed(*more), packed(*some, *more)
    pile.extend(behind)
    assert stored(pile) == stored(expected)
    assert (pile.marks, pile.contents) == (expected.marks, expected.contents)
    if len(pile) < _FEW:
        assert pile.size == expected.size
    assert pile.size >= expected.size  # of more records, packed together, what all have alike counts once


def test_what_all_headers_have_alike_is_stored_once_but_for_long_values() -> None:
    same = (("same", b"s" * LONGEST_ALIKE), ("long", b"l" * (LONGEST_ALIKE + 1)))
    some = [Draft("a", None, b"", (("own", b"%d" % number), *same)) for number in range(20)]
    (pile,) = packed(*some)
    body = pile.batch(0, TIME, {}).body
    assert (body.count(b"s" * LONGEST_ALIKE), body.count(b"l" * LONGEST_ALIKE)) == (1, 20)
    assert [record.headers for record in records(pile.batch(0, TIME, {}), {})] == [draft.headers for draft in some]


def test_names_that_nobody_else_has_neither_fill_batches_nor_memory() -> None:
    """A foreign producer may write any headers."""
    some = [Draft("a", None, b"", ((f"{number}".zfill(5000), b"v"),)) for number in range(100)]
    before = known()
    piles = packed(*some)
    bodies = [pile.batch(0, TIME, {}).body for pile in piles]
    assert [record_in("a", TIME, body, entry, {}).headers for body in bodies for entry in entries(0, body)] == [one.headers for one in some]
    assert (len(piles), sum(map(len, bodies)) < 600_000, known()) == (8, True, before)


def known() -> tuple[int, int]:
    """How often a layout was put into memory."""
    return _known_layout.cache_info().misses, _known_layouts.cache_info().misses


def test_a_batch_is_not_so_large_that_reading_one_record_of_it_would_cost_too_much() -> None:
    many = packed(*[Draft("a", None, b"") for _ in range(MOST_RECORDS + 1)])
    assert [len(pile) for pile in many] == [MOST_RECORDS, 1]
    large = packed(Draft("a", None, b""), Draft("a", None, bytes(MOST_BYTES + 1)), Draft("a", None, b""))
    assert [len(pile) for pile in large] == [1, 1, 1]
    shared = packed(Draft("a", None, b""), Draft("a", None, bytes(MOST_BYTES), digest=b"d" * 32), Draft("a", None, b""))
    assert [len(pile) for pile in shared] == [3]


def test_drafts_without_key_or_partition_go_to_one_together() -> None:
    for spread in range(4):
        (pile,) = pack([Draft("b", None, b""), Draft("b", None, b"")], TOPICS.__getitem__, spread, 10)
        assert pile.slot == TOPICS["b"].slot(spread % 3)


def test_a_record_is_too_large_with_its_key_and_headers() -> None:
    with pytest.raises(TooLarge, match="of 11 bytes for topic a: the log takes 10"):
        pack([Draft("a", b"key", b"a value.")], TOPICS.__getitem__, 0, 10)


def test_a_body_that_is_cut_short_is_fatal() -> None:
    (pile,) = packed(*[Draft("a", b"key", b"value", (("h", b"v"),)) for _ in range(3)])
    _, _, _, body = pile.batch(7, TIME, {})
    assert len(list(entries(7, body))) == 3
    for length in range(len(body)):
        with pytest.raises(Fatal, match="from id 7 on is damaged"):
            list(entries(7, body[:length]))
