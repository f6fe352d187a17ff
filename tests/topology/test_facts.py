"""Facts: what any release wrote stays readable, and what a newer one wrote is kept."""

import json
from pathlib import Path

import orjson
import pytest

from streams.faults import Newer
from streams.record import Position
from topology.facts import (
    Authentication,
    Envelope,
    Facts,
    Outcome,
    Repeated,
    Replay,
    ReplyEvent,
    Route,
    Screening,
    cut,
    in_full,
    rfc3339,
    to_ms,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def full() -> Facts:
    """Facts with every member, as version 1.0 wrote them (tests/golden/facts-1.0.json)."""
    return Facts(
        Envelope("m" * 32, "a@b.org", ("C@d.org",), rfc3339(1772445600123), "lmtp", 1234, "0" * 64, "id@b.org", "sha256:0", True),
        Position("log", "mail.raw", 3, 7),
        Screening(None, None, "list", ("C@d.org",), "hello", ("w1",)),
        Authentication(
            "a@b.org",
            "from",
            "strong",
            "acc",
            "Name",
            True,
            False,
            ("F" * 40,),
            "openpgp",
            None,
            {"form": "clear"},
            ({"result": "pass"},),
            None,
            {"n": "v"},
            ("w2",),
        ),
        Route("d" * 32, "bugs", "c@d.org", "C@d.org", "envelope", {"number": "1"}, ("w3",)),
        Outcome(
            "failed",
            "handler-error",
            "o" * 32,
            "d" * 32,
            "handler:bugs",
            rfc3339(1772445601000),
            "c@d.org",
            (),
            "why",
            "bugs",
            "OOPS-1",
            "r" * 32,
            "f" * 16,
            2,
            ("w4",),
        ),
        ReplyEvent("r" * 32, "sent", "oops", rfc3339(1772445602000), None, "a@b.org", 1),
        Repeated(("C@d.org",), {"log": "log", "topic": "mail.raw", "partition": 3, "offset": 1}),
        Replay(5, ("c@d.org",), True, False),
    )


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("facts-*.json")), ids=lambda file: file.stem)
def test_what_a_release_wrote_stays_readable(file: Path) -> None:
    assert Facts.decode(file.read_bytes()) == full()


def test_encode_and_decode_are_inverse() -> None:
    assert Facts.decode(full().encode()) == full()


def test_what_has_its_default_is_not_written_and_reads_the_same_as_where_it_is() -> None:
    facts = Facts(Envelope("m" * 32, None, (), "2026-03-02T10:00:00.123Z", "lmtp", 3, "0" * 64), None, Screening(silence="list"))
    document = json.loads(facts.encode())
    assert document["screening"] == {"silence": "list"}
    assert list(document["envelope"]) == ["mail_id", "sender", "recipients", "received_at", "via", "size", "digest"]
    whole = in_full(document)
    assert whole["screening"] == {"rule": None, "field": None, "silence": "list", "recipients": (), "subject": None, "warnings": ()}
    assert (whole["envelope"]["truncated"], whole["envelope"]["archived"]) == (False, None)
    assert Facts.decode(facts.encode()) == Facts.decode(orjson.dumps(whole)) == facts
    assert Facts.decode(facts.encode()).encode() == facts.encode()


def test_a_document_in_full_keeps_what_we_do_not_know() -> None:
    document = {"version": "1.7", "envelope": {"mail_id": "m", "shape": "round"}, "stamp": {"a": 1}, "route": None}
    whole = in_full(document)
    assert (whole["envelope"]["shape"], whole["stamp"], whole["route"], whole["version"]) == ("round", {"a": 1}, None, "1.7")


def test_a_stage_adds_its_member_and_changes_no_other() -> None:
    before = Facts.decode(Facts(full().envelope, full().raw, full().screening).encode())
    after = before.having(authentication=full().authentication)
    document = json.loads(after.encode())
    assert {name: document[name] for name in ("version", "envelope", "raw", "screening")} == json.loads(before.encode())
    assert Facts.decode(after.encode()) == after


def test_a_replaced_member_is_written_as_it_is_now() -> None:
    changed = full().having(replay=None, screening=Screening("robot"))
    assert Facts.decode(changed.encode()) == changed


def test_unknown_members_of_a_newer_minor_version_are_kept() -> None:
    document = json.loads(full().encode()) | {"version": "1.7", "scent": {"of": "roses"}}
    document["route"]["colour"] = "red"
    kept = json.loads(Facts.decode(orjson.dumps(document)).having(outcome=full().outcome).encode())
    assert (kept["version"], kept["scent"], kept["route"]["colour"]) == ("1.7", {"of": "roses"}, "red")


def test_a_newer_major_version_is_refused_with_a_clear_word() -> None:
    document = json.loads(full().encode()) | {"version": "2.0"}
    with pytest.raises(Newer, match=r"version 2\.0.*upgrade"):
        Facts.decode(orjson.dumps(document))


@pytest.mark.parametrize("junk", [b"", b"[]", b"{}", b'{"envelope": 1}', b'{"version":"1.0","envelope":{}}', b"\xff"])
def test_what_is_no_facts_document_is_a_value_error(junk: bytes) -> None:
    with pytest.raises(ValueError):
        Facts.decode(junk)


def test_times_have_milliseconds_and_come_back() -> None:
    assert rfc3339(1772445600007) == "2026-03-02T10:00:00.007Z"
    assert to_ms("2026-03-02T10:00:00.007Z") == 1772445600007


def test_evidence_is_cut_and_can_be_written_as_json() -> None:
    assert len(cut("x" * 5000)) == 1024
    for text in (b"\xff\xfe".decode("utf-8", "surrogateescape"), "a\ud800b", "\udfff", "\U0001f600\udc80"):
        assert "\ufffd" in orjson.loads(orjson.dumps(cut(text)))
