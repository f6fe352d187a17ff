"""Erased mails are gone wherever the engine allows, others stay, and the accounts add up."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from postroom.erasing.redact import redacted
from postroom.site import Site
from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place
from tests.erasing.dying import erase_and_die
from tests.reading.conftest import Postroom
from tests.reading.story import Story
from topology.facts import Authentication, Facts, Replay

HANDLERS: dict[str, dict[str, Any]] = {
    "bugs": {"use": "python", "python": "acting:answer", "domains": ["bugs.example"], "allow_unknown_senders": True},
    "broken": {"use": "python", "python": "acting:fail", "domains": ["broken.example"]},
}
CODE = {
    "acting.py": """
from handlers import Reply
def answer(mail):
    return Reply("you said: " + mail.raw.decode()[-60:])
def fail(mail):
    raise ValueError(mail.raw.decode()[-60:])
"""
}
SENDER = "test@canonical.com"


def erased(postroom: Postroom, *selectors: str, status: int = 0) -> dict[str, Any]:
    """`erase --apply --json`."""
    result = postroom("erase", *selectors, "--apply", "--why", "asked", "--json")
    assert result.exit_code == status, result.output
    found: dict[str, Any] = orjson.loads(result.stdout)
    return found


def counts(postroom: Postroom) -> dict[str, Any]:
    """fsck's counts that are not 0."""
    result = postroom("fsck", "--json")
    assert result.exit_code == 0, result.output
    return {name: count for name, count in orjson.loads(result.stdout).items() if count}


def in_the_files(folder: Path, *names: str) -> list[str]:
    """Which of the files of the log and the archive, and of those named, have a secret in them."""
    files = [path for path in folder.rglob("*") if path.is_file() and ("postroom.db" in path.name or "archive" in path.parts)]
    return sorted(path.name for path in [*files, *(folder / name for name in names)] if b"SECRET" in path.read_bytes())


# -- on a hand-made log -----------------------------------------------------------------------------------------------------------


def test_without_apply_nothing_changes_and_all_is_told(story: Story, postroom: Postroom) -> None:
    story.handled(1)
    story.all_passed()
    before = counts(postroom)
    result = postroom("erase", "--sender", "test@example.org", "--json")
    found = orjson.loads(result.stdout)
    assert (result.exit_code, found["applied"], found["mails"], found["deliveries"], found["scrubbed"]) == (0, False, 1, 1, None)
    assert found["erased"]["log"]["records"] == 5
    assert {(one["topic"], one["what"], one["until"]) for one in found["remains"]} == {
        (topic, "facts", None) for topic in ("mail.screened", "mail.authenticated", "mail.routed.bugs", "mail.outcomes")
    }
    assert counts(postroom) == before
    assert "nothing was changed; --apply erases" in postroom("erase", "--sender", "test@example.org").stdout
    assert postroom("erase", "--apply").exit_code == 2


def test_a_tombstone_stays_with_hash_size_and_outcome(story: Story, postroom: Postroom) -> None:
    facts = story.failed(1)
    story.all_passed()
    found = erased(postroom, "--id", facts.envelope.mail_id, status=75)  # the replyer has still to read mail.failures
    assert (found["mails"], found["waiting"]) == (1, 1)
    (stone,) = (record for record in story.log.read("mail.outcomes") if record.header("ce_type") == b"postroom.erased")
    document = orjson.loads(stone.value)
    assert stone.key == facts.envelope.mail_id.encode()
    assert (document["envelope"]["digest"], document["envelope"]["size"]) == (facts.envelope.digest, facts.envelope.size)
    member = document["erased"]
    assert facts.outcome
    assert (member["why"], member["who"].count("@")) == ("asked", 1)
    assert [(one["delivery_id"], one["status"], one["reason"]) for one in member["outcomes"]] == [
        (facts.outcome.delivery_id, "failed", "handler-error")
    ]
    assert counts(postroom) == {"raw": 1, "erased": 1}


def test_show_tells_that_it_was_erased_and_gives_nothing_out(story: Story, postroom: Postroom) -> None:
    facts = story.handled(1)
    story.all_passed()
    erased(postroom, "--id", facts.envelope.mail_id)
    shown = postroom("show", facts.envelope.mail_id)
    assert "erased by " in shown.stdout
    assert facts.envelope.digest in shown.stdout
    assert "hello" not in shown.stdout
    came, screened, *_ = shown.stdout.split("\n\n")[1].splitlines()[::2]
    assert (
        came
        == "  2026-03-01 10:00:00.000 UTC  received        by lmtp, 48 octets, envelope sender test@example.org, for 1@bugs.example.org"
    )
    assert screened.startswith("  2026-03-01 10:00:00.000 UTC  bounce filter ")
    raw = postroom("show", "--raw", facts.envelope.mail_id)
    assert (raw.exit_code, raw.stdout) == (1, "")
    assert f"mail {facts.envelope.mail_id} was erased at " in raw.stderr
    assert postroom("why", facts.envelope.mail_id).exit_code == 0
    assert postroom("export", "--id", facts.envelope.mail_id, "--to", str(story.path.parent / "x.mbox")).exit_code == 1


def test_why_tells_that_it_was_erased_and_recommends_nothing(story: Story, postroom: Postroom) -> None:
    facts, other = story.failed(1), story.failed(2)
    story.all_passed()
    erased(postroom, "--id", facts.envelope.mail_id, status=75)
    gone, there = (orjson.loads(postroom("why", "--json", one.envelope.mail_id).stdout) for one in (facts, other))
    stone = postroom("show", "--raw", facts.envelope.mail_id).stderr.strip().partition(" was ")[2]
    assert (gone["because"][-1], gone["otherwise"]) == (f"It was {stone}.", [])
    assert stone.startswith("erased at 2")
    assert there["otherwise"]
    assert "different" not in postroom("why", facts.envelope.mail_id).stdout


def test_failures_of_erased_mails_stand_no_longer_and_settled_ones_stay_told(story: Story, postroom: Postroom) -> None:
    def groups(*args: str) -> list[tuple[int, int, str]]:
        lines = map(orjson.loads, postroom("failures", "--json", *args).stdout.splitlines())
        return [(line["count"], line["resolved"], line["mail_id"]) for line in lines]

    first, second, settled = (story.failed(number) for number in range(3))
    story.outcome(settled.having(outcome=None, replay=Replay(1, ("1@bugs.example.org",))))
    story.all_passed()
    erased(postroom, "--id", second.envelope.mail_id, status=75)
    assert groups() == [(1, 1, first.envelope.mail_id)]
    erased(postroom, "--id", first.envelope.mail_id, "--id", settled.envelope.mail_id, status=75)
    assert groups() == []
    assert groups("--resolved") == [(0, 1, settled.envelope.mail_id)]


def test_another_mail_with_the_same_bytes_stays_readable_until_it_is_chosen_too(story: Story, postroom: Postroom) -> None:
    mine, other = story.handled(1), story.handled(1, sender="else@example.org")
    story.all_passed()
    erased(postroom, "--id", mine.envelope.mail_id)
    assert postroom("show", "--raw", other.envelope.mail_id).stdout == story.mails[other.envelope.mail_id].decode()
    assert counts(postroom) == {"raw": 2, "erased": 1, "ended": 1}
    erased(postroom, "--id", other.envelope.mail_id)
    assert counts(postroom) == {"raw": 2, "erased": 2}
    assert b"Message-ID: <1@x>" not in story.path.read_bytes()


def test_every_hand_over_of_a_mail_is_erased_and_repeats_stay_accounted_for(story: Story, postroom: Postroom) -> None:
    first = story.handled(1)
    story.repeated(story.raw(1, repeat=True), first)
    story.all_passed()
    assert erased(postroom, "--id", first.envelope.mail_id)["erased"]["log"]["octets"] > 2 * first.envelope.size
    assert counts(postroom) == {"raw": 2, "erased": 2}


def test_what_is_on_its_way_is_left_out_and_erased_by_the_next_run(story: Story, postroom: Postroom) -> None:
    both = ("a@bugs.example.org", "b@help.example.org")
    facts = story.authenticated(story.screened(story.raw(9, recipients=both)))
    story.outcome(story.routed(facts, both[0]))
    story.passed("bounce-filter", "authentication", "routing", "bugs")
    waiting = story.routed(facts, both[1], "help")
    found = erased(postroom, "--sender", "test@example.org", status=75)
    assert (found["mails"], found["on_its_way"]) == (0, 1)
    assert counts(postroom) == {"raw": 1, "on_its_way": 1}
    story.outcome(waiting)
    story.all_passed()
    assert erased(postroom, "--sender", "test@example.org")["mails"] == 1
    again = erased(postroom, "--sender", "test@example.org")
    assert (again["mails"], again["already_erased"], again["erased"]["log"]["records"]) == (0, 1, 0)
    assert counts(postroom) == {"raw": 1, "erased": 1}


def test_facts_lose_what_they_quote_and_keep_what_accounting_needs(story: Story) -> None:
    evidence = Authentication("a@x.org", "from", "weak", "sample", reason="SECRET", dkim=({"domain": "SECRET"},), dns={"SECRET": "x"})
    facts = story.screened(story.raw(1), rule=None, field="SECRET", subject="SECRET").having(authentication=evidence)
    facts = story.end(facts, "failed", "stage-error", detail="SECRET")
    after = redacted(facts.encode())
    assert b"SECRET" not in after
    read = Facts.decode(after)
    assert (read.raw, read.envelope.sender, read.envelope.digest) == (facts.raw, facts.envelope.sender, facts.envelope.digest)
    assert read.outcome and facts.outcome
    assert (read.outcome.delivery_id, read.outcome.reason) == (facts.outcome.delivery_id, "stage-error")
    assert redacted(after) == after


# -- on a whole installation ------------------------------------------------------------------------------------------------------


def installation(make: MakePlace, letter: Letters, inline_limit: int) -> tuple[Place, dict[str, str]]:
    """Three mails of one sender, one of which failed and one of which was answered, and one of another sender that has the bytes of the
    first; by name their mail ids."""
    place = make(handlers=HANDLERS, code=CODE, sections={"archive": {"inline_limit": inline_limit}})
    same = letter("1@bugs.example", body="SAME SECRET")
    failing = letter("1@broken.example", body="SECRET " * 2000)
    robot = letter("1@bugs.example", fields="Precedence: bulk\n", body="SECRET")
    lines = place.imported([same, failing, robot], "--sender", SENDER)
    mails = dict(zip(("answered", "failed", "dropped"), (line["mail_id"] for line in lines), strict=True))
    mails["other"] = place.mail(same, "--sender", "else@elsewhere.example")
    place.drain()
    assert len(place.outbox()) == 2
    return place, mails


@pytest.mark.sqlite_only
@pytest.mark.parametrize("inline_limit", [0, 524_288])
def test_an_erase_that_is_killed_anywhere_completes_when_it_is_run_again(
    make: MakePlace, letter: Letters, inline_limit: int, tmp_path: Path
) -> None:
    place, mails = installation(make, letter, inline_limit)
    # Killed behind the first change, run again and killed behind the second, and so on: each run meets what the one before left.
    for number in range(1, 40):
        if not erase_and_die(tmp_path / "postroom.toml", number, SENDER):
            break
        if number == 2:
            (found,) = place.lines("fsck", status=1)
            assert (found["lost"], found["erased"] + found["ended"]) == (0, 4)
            assert {one["problem"] for one in found["records"]} == {"unfinished"}
    assert number > 3
    found = place.lines("erase", "--envelope-sender", SENDER, "--apply")[0]
    assert (found["already_erased"], found["erased"]["log"]["records"], found["erased"]["archive"]["objects"]) == (3, 0, 0)
    assert place.run("show", "--raw", mails["other"]).endswith(b"SAME SECRET 1\n")
    place.run("erase", "--id", mails["other"], "--apply")
    assert in_the_files(tmp_path) == []
    assert list((tmp_path / "oops").rglob("OOPS-*")) == []
    found = place.fsck()
    assert (found["raw"], found["erased"]) == (4, 4)
    assert found["archive"] is None or (found["archive"]["objects"], found["archive"]["missing"]) == (0, 0)


@pytest.mark.sqlite_only
def test_with_inline_limit_0_the_mail_and_our_answers_are_gone_from_the_archive(make: MakePlace, letter: Letters, tmp_path: Path) -> None:
    place, mails = installation(make, letter, 0)
    (found,) = place.lines("erase", "--envelope-sender", SENDER, "--apply")
    assert (found["mails"], found["waiting"], found["on_its_way"]) == (3, 0, 0)
    assert found["erased"]["archive"]["objects"] >= 3
    assert found["erased"]["archive"]["shared"] == 1
    assert {one["what"] for one in found["remains"]} == {"facts"}
    accounts = place.fsck()
    assert (accounts["raw"], accounts["erased"], accounts["ended"], accounts["archive"]["missing"]) == (4, 3, 1, 0)
    assert place.run("show", "--raw", mails["other"]).endswith(b"SAME SECRET 1\n")
    place.run("show", "--raw", mails["failed"], status=1)
    assert f"mail {mails['failed']} was erased at " in place.stderr
    # Nobody processes it again, whatever is asked for.
    (brought,) = place.lines("replay", "--id", mails["failed"], "--apply")
    assert (brought["mails"], brought["left_out"]["gone"]) == (0, 1)


@pytest.mark.sqlite_only
def test_nothing_is_changed_while_the_archive_is_away(make: MakePlace, letter: Letters, tmp_path: Path) -> None:
    place = make(handlers=HANDLERS, code=CODE, sections={"archive": {"inline_limit": 0}})
    mail = place.mail(letter("1@bugs.example"), "--sender", SENDER)
    place.drain()
    (tmp_path / "archive").rename(tmp_path / "unmounted")
    place.run("erase", "--id", mail, "--apply", status=75)
    assert "is it mounted" in place.stderr
    (tmp_path / "unmounted").rename(tmp_path / "archive")
    assert (place.fsck()["erased"], place.run("show", "--raw", mail)[-8:]) == (0, b"hello 1\n")


@pytest.mark.kafka
def test_on_kafka_the_archive_lets_go_and_what_stays_in_topics_is_told_and_given_to_nobody(tmp_path: Path, letter: Letters) -> None:
    """Bytes within records stay until retention; the tombstone says that they are not to be used."""
    from tests.broker.shared import bootstrap

    handler = {"use": "maildir", "path": "bugs/", "domains": ["bugs.example"], "allow_unknown_senders": True}
    topics = {"partitions": 2, "retention": "7d"}
    place = Place(tmp_path, f"kafka://{bootstrap()}", handlers={"bugs": handler}, sections={"log.topics": topics})
    mail = place.write("large.eml", letter("1@bugs.example"))
    inline = place.mail(letter("1@bugs.example"), "--sender", SENDER)
    place.run("import", str(mail), "--sender", SENDER, env={"POSTROOM_ARCHIVE__INLINE_LIMIT": "0"})
    place.drain("chain", "handler:bugs")
    archived = next(row["mail_id"] for row in place.outcomes() if row["mail_id"] != inline)
    (found,) = place.lines("erase", "--id", archived, "--apply")
    assert (found["erased"]["archive"]["objects"], {one["what"] for one in found["remains"]}) == (1, {"facts"})
    assert not [path for path in (tmp_path / "archive").rglob("*") if path.is_file() and path.name != "postroom-archive"]
    (found,) = place.lines("erase", "--id", inline, "--apply")
    assert found["erased"]["log"] == {"records": 0, "octets": 0}
    kept = {one["topic"].partition(".")[2]: one for one in found["remains"] if one["what"] == "mail"}
    assert kept.keys() == {"raw", "routed.bugs"}
    assert all(one["octets"] > 0 and one["until"] for one in kept.values())
    place.run("show", "--raw", inline, status=1)
    (previewed,) = place.lines("replay", "--envelope-sender", SENDER)
    assert (previewed["mails"], previewed["gone"]) == (0, 2)
    (brought,) = place.lines("replay", "--envelope-sender", SENDER, "--redo", "--apply")
    assert (brought["mails"], brought["left_out"]["gone"]) == (0, 2)
    assert place.fsck()["erased"] == 2


def test_the_archive_says_who_refers_to_what_also_of_our_own_messages(tmp_path: Path, letter: Letters) -> None:
    """So that an answer in the archive goes with the mail that it answers, and no other with it."""
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=HANDLERS, code=CODE, sections={"archive": {"inline_limit": 0}})
    place.mail(letter("1@bugs.example", "Sample <test@canonical.com>"), "--sender", SENDER)
    place.drain()
    site = Site.at(tmp_path / "postroom.toml")
    names = [stored.key.rpartition("/")[2] for stored in site.archive.stored()]
    site.close()
    digests = {name for name in names if "." not in name}
    assert digests
    assert {name.partition(".")[0] for name in names if "." in name} == digests
    assert all(sha256((tmp_path / "archive" / name[:2] / name[2:4] / name).read_bytes()).hexdigest() == name for name in digests)
