"""The rules of silence: the cases in which no mail of ours is written, each named, in the order in which they apply.

An automatic answer to the wrong address is spam sent by us to a victim of a forger, or the second voice of a loop (RFC 3834
section 2). So the table comes first, and nothing is written but through it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from topology.ending import sender_of
from topology.facts import Facts
from topology.screening import is_robot

Answer = Literal["accounts", "proven", "anyone"]
"""Whom we write to. accounts: strong senders, and weak ones at the account's own address. proven: strong ones only. anyone: every sender
with an address; robots get nothing all the same."""


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules look at. to: the address to be written to. own: the address that we write from, as compared."""

    facts: Facts
    to: str | None
    answer: Answer
    own: str | None


Rule = Callable[[Case], str | bool | None]
"""Whether the rule keeps us silent; a text is the name that the reply event gets instead of the rule's own."""


def silent(facts: Facts, answer: Answer, own: str | None) -> str | None:
    """The name of the first rule that keeps us silent about this outcome, or None when a mail is to be written to
    `topology.ending.sender_of(facts)`."""
    case = Case(facts, sender_of(facts), answer, own)
    for name, rule in RULES.items():
        if found := rule(case):
            return found if isinstance(found, str) else name
    return None


def _mail_gone(case: Case) -> bool:
    return case.facts.outcome is not None and case.facts.outcome.reason == "mail-gone"


def _replay(case: Case) -> bool:
    return case.facts.replay is not None and not case.facts.replay.replies


def _null_sender(case: Case) -> bool:
    return case.facts.envelope.sender == ""


def _screened(case: Case) -> str | None:
    # The bounce filter says why: list, suppressed, automatic-subject …
    why = case.facts.screening.silence if case.facts.screening else None
    known = case.facts.authentication
    # No robot signs with somebody's OpenPGP key, so "Undeliverable: …" is what that person wants to talk about.
    return None if why == "automatic-subject" and known and known.strength == "strong" and known.method == "openpgp" else why


def _no_address(case: Case) -> bool:
    # What is not printable could break the header or the SMTP command that it is written into.
    return not case.to or not case.to.isprintable()


def _robot_address(case: Case) -> bool:
    return case.to is not None and is_robot(case.to.rpartition("@")[0])


def _own_address(case: Case) -> bool:
    route = case.facts.route
    return case.to == case.own or (route is not None and case.to == route.recipient)


def _other_mailbox(case: Case) -> bool:
    # RFC 3834 section 4: an answer goes to the envelope sender or nowhere. Without one (None) the author is all we have.
    return case.facts.envelope.sender not in (None, case.to)


def _unknown_sender(case: Case) -> bool:
    return case.answer == "accounts" and not _has_account(case)


def _unproven(case: Case) -> bool:
    return case.answer == "proven" and (case.facts.authentication is None or case.facts.authentication.strength != "strong")


def _too_large(case: Case) -> bool:
    outcome = case.facts.outcome
    return outcome is not None and outcome.reason == "too-large" and not _has_account(case)


def _has_account(case: Case) -> bool:
    # The account is that of the sender's address, so whether proven or not, the mail goes to one of the account's own.
    return case.facts.authentication is not None and case.facts.authentication.account is not None


RULES: dict[str, Rule] = {
    # Nothing to write about, or nobody asked.
    "mail-gone": _mail_gone,
    "replay": _replay,
    # Nobody there: RFC 5321 section 4.5.5, robots, lists, our own marks.
    "null-sender": _null_sender,
    "screened": _screened,
    "no-address": _no_address,
    "robot-address": _robot_address,
    "own-address": _own_address,
    # Perhaps somebody, but nobody whom we can trust to be the author.
    "other-mailbox": _other_mailbox,
    "unknown-sender": _unknown_sender,
    "unproven": _unproven,
    "too-large": _too_large,
}
