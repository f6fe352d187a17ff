"""What is said of a header by some of its fields, and remembered."""

import itertools
from collections.abc import Iterator

import pytest

from tests.corpora import corpus
from topology.aspect import LONGEST, MOST, Aspect, of_fields
from topology.head import Head, HeadReader, Layout, laid_out
from topology.screening import _WEAK_SIGNS, rules

READER = HeadReader()


class Asked:
    """Remembers what it was asked; says what the head that it is shown consists of."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, head: Head, beside: str | None) -> tuple[list[tuple[str, str]], str | None]:
        self.times += 1
        return [(field.name, field.value.strip()) for field in head.fields], beside


def read(header: str) -> Head:
    return READER.read(header.encode() + b"\n\n")


def test_who_judges_is_shown_the_fields_that_it_reads_in_their_order_and_no_other() -> None:
    aspect = Aspect(of_fields("from", "to"), Asked())
    assert aspect(read("To: b@x.org\nSubject: no\nFrom: a@x.org\nCc: c@x.org\nTo: d\n @x.org"), "s") == (
        [("to", "b@x.org"), ("from", "a@x.org"), ("to", "d @x.org")],
        "s",
    )
    assert aspect(read("Subject: none of them")) == ([], None)


@pytest.mark.parametrize(
    ("one", "other", "times"),
    [
        ("From: a@x.org\nSubject: one", "From: a@x.org\nSubject: two", 1),
        ("From: a@x.org", "Received: by x\nfrom: a@x.org\nX-Loop: 1", 1),
        ("From: a@x.org", "From: A@x.org", 2),
        ("From: a@x.org", "From: a@x.org\nFrom: a@x.org", 2),
        ("From: a@x.org\nTo: b@x.org", "To: b@x.org\nFrom: a@x.org", 2),
        ("From: a@x.org", "To: a@x.org", 2),
        ("From: a@x.org\nTo:", "From:\nTo: a@x.org", 2),
    ],
)
def test_who_judges_is_asked_once_for_what_is_the_same_to_it(one: str, other: str, times: int) -> None:
    asked = Asked()
    aspect = Aspect(of_fields("from", "to"), asked)
    first, second = aspect(read(one)), aspect(read(other))
    assert asked.times == times
    assert (first == second) is (times == 1)


def test_what_belongs_to_the_mail_beside_its_header_counts() -> None:
    asked = Asked()
    aspect = Aspect(of_fields("from"), asked)
    assert [aspect(read("From: a"), beside)[1] for beside in ("", None, "b", "")] == ["", None, "b", ""]
    assert asked.times == 3


@pytest.mark.parametrize(("octets", "times"), [(LONGEST - len("from"), 1), (LONGEST, 2)])
def test_of_long_fields_nothing_is_kept(octets: int, times: int) -> None:
    asked = Asked()
    aspect = Aspect(of_fields("from"), asked)
    head = Head(laid_out(("from",), 0), ("x" * octets,))
    assert aspect(head) == aspect(head)
    assert asked.times == times


def test_of_long_names_nothing_is_kept() -> None:
    asked = Asked()
    aspect = Aspect(lambda layout: [name for name in layout.places if name.startswith("list-")], asked)
    head = read(f"List-{'x' * LONGEST}: a")
    assert aspect(head) == aspect(head)
    assert asked.times == 2


def test_so_many_words_are_kept_and_no_more() -> None:
    asked = Asked()
    aspect = Aspect(of_fields("from"), asked)
    layout = laid_out(("from",), 0)
    for number in range(MOST + 10):
        aspect(Head(layout, (str(number),)))
    aspect(Head(layout, (str(MOST),)))
    assert asked.times == MOST + 10
    aspect(Head(layout, ("0",)))
    assert asked.times == MOST + 11


# A rule that reads a field which it does not name would not see it, and let a robot pass.

VALUES = (
    "<>",
    "no",
    "yes",
    "auto",
    "postmaster@x.org",
    "noreply@x.org",
    "owner-list@x.org",
    "multipart/report",
    "text/calendar; method=reply",
    "All",
)
NAMES = (
    "Return-Path",
    "Content-Type",
    "Precedence",
    "Auto-Submitted",
    "X-Auto-Submitted",
    "From",
    "Sender",
    "X-Autoreply",
    "X-Auto-Response-Suppress",
    "X-MS-Exchange-Inbox-Rules-Loop",
    "Delivered-To",
    "List-Id",
    "Mailing-List",
    "X-Postroom-Reply",
    "X-Loop",
    "X-Ack",
    "Received",
)


def heads() -> Iterator[Head]:
    for mail in corpus():
        yield READER.read(mail.raw)
    for (one, other), first, second in itertools.product(itertools.combinations(NAMES, 2), VALUES, VALUES):
        yield read(f"{one}: {first}\n{other}: {second}")


TABLE = rules(max_received=0) | _WEAK_SIGNS


@pytest.mark.parametrize("name", TABLE)
def test_every_rule_names_the_fields_that_it_reads(name: str) -> None:
    fired, rule = 0, TABLE[name]
    aspect = Aspect(rule.reads, rule.look)
    for head in heads():
        if rule.may(head.layout):
            for sender in ("", "a@x.org", "bounces-1@x.org", None):
                said = rule.look(head, sender)
                assert aspect(head, sender) == said, head.fields
                fired += said is not None
    assert fired > 100


def test_a_layout_is_asked_once() -> None:
    asked = 0

    def reads(_layout: Layout) -> list[str]:
        nonlocal asked
        asked += 1
        return ["from"]

    aspect = Aspect(reads, Asked())
    for number in range(3):
        aspect(read(f"From: {number}\nX-Of-This-Test-Alone: {number}"))
    assert asked == 1
