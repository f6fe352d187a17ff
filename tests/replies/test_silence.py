"""The rules of silence, one by one."""

from pathlib import Path
from typing import Any

import pytest

from tests.replies.cases import RECIPIENT, facts
from topology.facts import Facts, Replay
from topology.replies.silence import RULES, Answer, silent
from topology.screening import OFF_BY_DEFAULT, SIGNS

OWN = "postroom@example.net"
STRANGER: dict[str, Any] = {"sender": "eve@example.com", "account": None, "strength": "unknown"}


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        (facts(), None),
        (facts("returned", "refused"), None),
        (facts("handled", None), None),
        (facts("failed", "mail-gone"), "mail-gone"),
        (facts(replay=Replay(1)), "replay"),
        (facts(replay=Replay(1, replies=True)), None),
        (facts(envelope_sender=""), "null-sender"),
        (facts(envelope_sender="ann@example.org"), None),
        (facts(envelope_sender="bounces@lists.example.com"), "other-mailbox"),
        (facts(silence="list"), "list"),
        (facts(silence="automatic-subject"), "automatic-subject"),
        (facts(silence="automatic-subject", strength="strong", method="dkim"), "automatic-subject"),
        (facts(silence="automatic-subject", strength="strong", method="openpgp"), None),
        (facts(silence="suppressed", strength="strong", method="openpgp"), "suppressed"),
        (facts(sender=None, account=None, strength="unknown"), "no-address"),
        (facts().having(authentication=None), "no-address"),
        (facts(sender='"a\nBcc: x"@example.org'), "no-address"),
        (facts(sender="mailer-daemon@example.org"), "robot-address"),
        (facts(sender="no-reply@example.org"), "robot-address"),
        (facts(sender=OWN), "own-address"),
        (facts(sender=RECIPIENT), "own-address"),
        (facts(**STRANGER), "unknown-sender"),
        (facts("returned", "too-large"), None),
    ],
)
def test_by_default_accounts_are_written_to_and_nobody_else(case: Facts, rule: str | None) -> None:
    """R4 and DESIGN.md section 5: strong senders, and weak ones at the account's own address."""
    assert silent(case, "accounts", OWN) == rule


@pytest.mark.parametrize(
    ("answer", "case", "rule"),
    [
        ("proven", facts(strength="strong"), None),
        ("proven", facts(), "unproven"),
        ("proven", facts(**STRANGER), "unproven"),
        ("anyone", facts(**STRANGER), None),
        ("anyone", facts(), None),
        ("anyone", facts(**STRANGER, silence="suppressed"), "suppressed"),
        ("anyone", facts(**STRANGER, envelope_sender=""), "null-sender"),
        ("anyone", facts(**STRANGER, envelope_sender="victim@example.org"), "other-mailbox"),
        ("anyone", facts("returned", "too-large", **STRANGER), "too-large"),
        ("anyone", facts("returned", "too-large"), None),
    ],
)
def test_the_setting_widens_or_narrows_whom_we_answer(answer: Answer, case: Facts, rule: str | None) -> None:
    """Robots, lists and forgers' victims get nothing whatever is set; a mail too large is answered to accounts only (S16)."""
    assert silent(case, answer, OWN) == rule


def test_every_rule_has_a_name_of_its_own_kind() -> None:
    """The names stand in `list --json` behind `silent:`, so they are part of the interface."""
    assert list(RULES) == [
        "mail-gone",
        "replay",
        "null-sender",
        "screened",
        "no-address",
        "robot-address",
        "own-address",
        "other-mailbox",
        "unknown-sender",
        "unproven",
        "too-large",
    ]


def test_every_name_is_told_to_people() -> None:
    """What `list` says behind `silent:`."""
    page = Path(__file__).parents[2].joinpath("docs/replies.md").read_text(encoding="utf-8")
    names = {*RULES, *SIGNS, *OFF_BY_DEFAULT, "limit", "breaker", "silent-before"} - {"screened"}  # which gives the sign's own name
    assert [name for name in names if f"`{name}`" not in page] == []
