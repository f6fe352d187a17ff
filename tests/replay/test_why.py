"""`why`: the reasons of a mail's outcomes, and what would have to be different."""

import string

import pytest

from postroom.replay.otherwise import OTHERWISE, otherwise
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters
from tests.replay.test_apply import BROKEN, PYTHON
from tests.replay.test_preview import signed
from topology.facts import REASONS

KNOWN = {"mail_id", "sender", "account", "handler", "domain", "oops_id", "fingerprint", "reason"}


def test_every_reason_code_says_what_would_have_to_be_different() -> None:
    codes = [code for codes in REASONS.values() for code in codes]
    assert sorted(OTHERWISE) == sorted(codes)
    for code in codes:
        names = {name for text in OTHERWISE[code] for _, name, _, _ in string.Formatter().parse(text) if name}
        assert names <= KNOWN, code
        assert all("{" not in text.replace("{ ", "") for text in otherwise(code, dict.fromkeys(KNOWN - {"reason"}, "x")))


def test_a_handled_mail_has_nothing_that_would_have_to_be_different() -> None:
    assert otherwise(None, dict.fromkeys(KNOWN - {"reason"}, "x")) == []


@pytest.mark.sqlite_only
def test_each_delivery_is_explained_from_its_hand_over_to_what_its_sender_heard(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"bugs": PYTHON}, code={"actions.py": BROKEN})
    mail_id = place.mail(letter("x@bugs.org"), "--recipient", "1@bugs.org", "--recipient", "1@nowhere.org")
    place.drain()
    told = {row["recipient"]: row for row in place.lines("why", mail_id)}
    failed = told["1@bugs.org"]
    words = " ".join(failed["because"])
    assert (failed["status"], failed["reason"], failed["generation"]) == ("failed", "handler-error", 0)
    for part in ("none of its rules fired", "account sample", "taken from the envelope", "failed, handler-error", "was written to"):
        assert part in words
    assert f"replay --id {mail_id} --apply" in " ".join(failed["otherwise"])
    assert "domains named nowhere.org" in " ".join(told["1@nowhere.org"]["otherwise"])
    place.run("why", "0" * 32, status=1)


@pytest.mark.sqlite_only
def test_the_rule_the_field_and_what_was_looked_up_are_named(make: MakePlace, letter: Letters) -> None:
    place, strong = signed(make)
    dropped = place.mail(letter("1@foo.com", fields="Precedence: \x1b[31mbulk\n"))
    weak = place.mail(letter("1@foo.com", sender="nobody@example.net"))
    place.drain()
    text = place.run("why", strong).decode()
    assert "proved by a DKIM signature" in text
    assert "Looked up" in text
    text = place.run("why", dropped).decode()
    assert "rule precedence fired" in text
    assert "\x1b" not in text
    assert "rules = { precedence = false }" in text
    assert "If nobody@example.net were an address of an account" in place.run("why", weak).decode()


@pytest.mark.sqlite_only
def test_a_replayed_mail_says_by_what_it_was_judged_and_a_waiting_one_what_it_waits_for(make: MakePlace) -> None:
    place, mail_id = signed(make)
    place.run("replay", "--id", mail_id, "--apply", "--redo")
    (waiting,) = [row for row in place.lines("why", mail_id) if row["status"] is None]
    assert "It waits for authentication." in waiting["because"]
    place.drain()
    (row,) = place.lines("why", mail_id)
    assert row["generation"] > 0
    assert "by what was looked up when it came" in " ".join(row["because"])
