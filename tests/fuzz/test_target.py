"""The target of `make fuzz` holds on its seeds and on some thousand changes of them, and does find what it looks for."""

import random
from functools import cache

import pytest

from tests.fuzz.__main__ import changed
from tests.fuzz.target import FORGED, Target, seeds


@cache
def target() -> Target:
    return Target()


def test_every_seed_is_strong() -> None:
    assert all(map(target().hold, seeds()))


def test_no_change_to_what_is_signed_is_strong() -> None:
    """The same changes every time; `make fuzz` makes others."""
    draw = random.Random(7)
    strong = sum(target().hold(changed(draw, draw.choice(seeds()), seeds())) for _ in range(1000))
    assert 0 < strong < 1000


def test_no_change_makes_a_forged_field_the_word_of_our_server() -> None:
    """As it stands it would be, were it not for the mail server, which takes it out."""
    told = target().judge(FORGED).authentication
    assert told
    assert told.method == "authentication-results"
    draw = random.Random(11)
    for _ in range(1500):
        target().hold_forged(changed(draw, FORGED, (FORGED,)))


def test_a_strong_mail_that_nobody_signed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target is no check that cannot fail: were the forms of one mail unknown to it, it would say so."""
    mine = Target()
    for name in ("_dkim", "_openpgp"):
        monkeypatch.setattr(mine, name, ())
    for raw in (seeds()[0], seeds()[6]):
        with pytest.raises(AssertionError):
            mine.hold(raw)
