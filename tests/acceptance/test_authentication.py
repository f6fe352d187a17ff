"""S1 to S16 on the whole program: who wrote it, and what that leads to. The kinds of signature are in tests/openpgp and tests/dkim."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import SAMPLE, MakePlace
from tests.acceptance.place import Letters, Place, words_of
from topology import author
from topology.head import HeadReader
from topology.openpgp import Keyring

OPENPGP = Path(__file__).parents[1] / "openpgp"
DKIM = Path(__file__).parents[1] / "dkim" / "cases"
FAULTS = {"bad", "unknown-key", "expired-key", "revoked-key", "unusable-key", "expired-signature", "damaged", "unsupported"}
INBOX = {
    "use": "maildir",
    "path": "inbox/",
    "domains": ["example.org", "foo.com", "lists.example.org", "bugs.example.org"],
    "allow_unknown_senders": True,
}
NOT_OURS = ("p256", "stranger")
SENDER = "test@example.org"


def fingerprints() -> dict[str, str]:
    """Every key of the OpenPGP cases, and its fingerprint."""
    return {path.stem: next(iter(Keyring.of([(path.stem, path.read_bytes())]).fingerprints())) for path in (OPENPGP / "keys").glob("*.asc")}


def signed_place(make: MakePlace, **sections: dict[str, Any]) -> Place:
    """A place whose one account has every key of the cases but two; the stranger's is not even held."""
    keys = fingerprints()
    own = [keys[name] for name in keys if name not in NOT_OURS]
    place = make(handlers={"inbox": INBOX}, accounts=[SAMPLE | {"addresses": [SENDER], "fingerprints": own}], sections=sections)
    for path in (OPENPGP / "keys").glob("*.asc"):
        if path.stem != "stranger":
            shutil.copy(path, place.folder / "keys")
    return place


def author_of(mail: bytes) -> str:
    """From's address."""
    address = author.read(HeadReader().read(mail)).address
    assert address
    return address


def expected(case: dict[str, Any], *, legacy: str) -> tuple[str, str | None, str]:
    """Status, reason and strength of a case, by the rows: what its signatures are worth to the account."""
    signatures = case.get("signature", [])
    good = [one for one in signatures if one["verdict"] == "good"]
    own = next((one for one in good if one["key"] not in NOT_OURS), None)
    if own:
        made, received = (tomllib.loads(f"t = {one}")["t"] for one in (own["created_at"].replace(".000Z", "Z"), case["received_at"]))
        age = (received - made).total_seconds()
        if age > 172_800 or age < -600:
            return "returned", "signature-time", "weak"
        if own["legacy"] and legacy == "refuse":
            return "returned", "bad-signature", "weak"
        return "handled", None, "weak" if own["legacy"] and legacy == "weak" else "strong"
    if not good and any(one["verdict"] in FAULTS for one in signatures):
        return "returned", "bad-signature", "weak"
    return "handled", None, "weak"


@pytest.mark.parametrize("legacy", ["weak", "strong", "refuse"])
def test_s1_to_s6_every_openpgp_case_has_its_outcome(make: MakePlace, legacy: str) -> None:
    place = signed_place(make, authentication={"openpgp_legacy": legacy})
    cases: dict[str, dict[str, Any]] = {}
    by_time: dict[str, list[Path]] = {}
    seen: set[bytes] = {(OPENPGP / "cases" / "104-junk-in-header.eml").read_bytes()}  # its From stands behind the header's end
    for path in sorted((OPENPGP / "cases").glob("*.toml")):
        case = tomllib.loads(path.read_text(encoding="utf-8"))
        mail = path.with_suffix(".eml").read_bytes()
        if mail in seen:  # received at two times: to the log the second is a repeat
            continue
        seen.add(mail)
        if case["without"] == ["stranger"] and (legacy == "weak" or any(one["legacy"] for one in case.get("signature", []))):
            cases[path.stem] = case
            by_time.setdefault(case["received_at"], []).append(path.with_suffix(".eml"))
    ids: dict[str, str] = {}
    for received_at, paths in by_time.items():
        for line in place.lines("import", "--received-at", received_at, "--recipient", f"a@{SENDER.partition('@')[2]}", *map(str, paths)):
            ids[Path(line["path"]).stem] = line["mail_id"]
    place.drain()
    rows = {row["mail_id"]: row for row in place.outcomes()}
    found = {name: (rows[id_]["status"], rows[id_]["reason"], rows[id_]["strength"]) for name, id_ in ids.items()}
    ambiguous = {name for name, word in found.items() if word[1] in ("from-ambiguous", "malformed")}
    assert {name: found[name] for name in cases if name not in ambiguous} == {
        name: expected(case, legacy=legacy) for name, case in cases.items() if name not in ambiguous
    }
    assert len(ambiguous) <= 3
    returned = sum(row["status"] == "returned" for row in rows.values())
    assert sum(row["reply"] == "sent" for row in rows.values()) + sum(row["reply"] == "silent:limit" for row in rows.values()) == returned


def test_s3_a_good_key_that_is_not_the_accounts_leaves_the_mail_weak_and_says_why(make: MakePlace) -> None:
    place = signed_place(make)
    path = next(path for path in sorted((OPENPGP / "cases").glob("*.toml")) if 'key = "p256"' in path.read_text(encoding="utf-8"))
    received = tomllib.loads(path.read_text(encoding="utf-8"))["received_at"]
    mail_id = place.lines("import", "--received-at", received, "--recipient", "a@example.org", str(path.with_suffix(".eml")))[0]["mail_id"]
    place.drain()
    assert (place.outcome(mail_id)["status"], place.outcome(mail_id)["strength"]) == ("handled", "weak")
    assert "not one of the account's" in place.show(mail_id)["facts"][0]["authentication"]["reason"]


def test_s4_of_a_stranger_a_broken_signature_is_not_judged_and_nothing_is_sent(make: MakePlace) -> None:
    place = make(handlers={"inbox": INBOX}, accounts=[])
    path = next(path for path in sorted((OPENPGP / "cases").glob("*.toml")) if 'verdict = "bad"' in path.read_text(encoding="utf-8"))
    mail_id = place.lines("import", "--recipient", "a@example.org", str(path.with_suffix(".eml")))[0]["mail_id"]
    place.drain()
    row = place.outcome(mail_id)
    assert (row["status"], row["strength"], row["reply"]) == ("handled", "unknown", None)


@pytest.mark.parametrize(("trusted", "good"), [("example.org", "strong"), ("elsewhere.org", "weak")])
def test_s7_to_s11_dkim_makes_the_aligned_account_strong(make: MakePlace, trusted: str, good: str) -> None:
    """The first case with a pass, by its own domain, by one that is not trusted, and with the body changed."""
    mail, zone = (DKIM / "002-rsa-2048.eml").read_bytes(), (DKIM / "002-rsa-2048.zone.json").read_text()
    received = tomllib.loads((DKIM / "002-rsa-2048.toml").read_text())["received_at"]
    place = make(
        handlers={"inbox": INBOX | {"domains": ["*"]}},
        accounts=[SAMPLE | {"addresses": [author_of(mail)]}],
        sections={"authentication": {"trusted_domains": [trusted]}},
    )
    place.write("zone.json", zone)
    changed = mail.replace(b"\r\n\r\n", b"\r\n\r\nmore\r\n", 1)
    ids = [place.mail(one, "--received-at", received, "--recipient", "a@example.org") for one in (mail, changed)]
    place.drain()
    assert [place.outcome(id_)["strength"] for id_ in ids] == [good, "weak"]


def test_s10_a_temporary_error_of_dns_leaves_the_mail_as_unsigned(make: MakePlace) -> None:
    mail = (DKIM / "002-rsa-2048.eml").read_bytes()
    zone = json.loads((DKIM / "002-rsa-2048.zone.json").read_text())
    place = make(
        handlers={"inbox": INBOX},
        accounts=[SAMPLE | {"addresses": [author_of(mail)]}],
        sections={"authentication": {"trusted_domains": ["*"]}},
    )
    place.write("zone.json", json.dumps(dict.fromkeys(zone, "TEMPERROR")))
    mail_id = place.mail(mail, "--recipient", "a@example.org")
    place.drain()
    fact = place.show(mail_id)["facts"][0]["authentication"]
    assert (fact["strength"], fact["dkim"][0]["result"]) == ("weak", "temperror")
    assert fact["reason"] == f"DKIM temperror: {fact['dkim'][0]['reason']}; no OpenPGP signature"


def test_s12_who_the_author_is(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX})
    sender = "Sender: test@canonical.com\n"
    mails = {
        "two fields": letter("a@foo.com", fields="From: other@x.org\n"),
        "obsolete second field": letter("a@foo.com", fields="From : other@x.org\n"),
        "two and a sender": letter("a@foo.com", "a@x.org, b@x.org", fields=sender),
        "two and no sender": letter("a@foo.com", "a@x.org, b@x.org"),
        "none": letter("a@foo.com").partition("\n")[2],
        "unreadable": letter("a@foo.com", "nobody at all"),
        "in the display name": letter("a@foo.com", '"test@canonical.com" <eve@x.org>'),
        "beside it": letter("a@foo.com", "test@canonical.com <eve@x.org>"),
    }
    ids = dict(zip(mails, (line["mail_id"] for line in place.imported(list(mails.values()))), strict=True))
    place.drain()
    rows = {name: place.outcome(id_) for name, id_ in ids.items()}
    assert {name: (row["status"], row["reason"], row["strength"], row["account"]) for name, row in rows.items()} == {
        "two fields": ("rejected", "from-ambiguous", "unknown", None),
        "obsolete second field": ("rejected", "from-ambiguous", "unknown", None),
        "two and a sender": ("handled", None, "weak", "sample"),
        "two and no sender": ("rejected", "from-ambiguous", "unknown", None),
        "none": ("handled", None, "unknown", None),
        "unreadable": ("handled", None, "unknown", None),
        "in the display name": ("handled", None, "unknown", None),
        "beside it": ("handled", None, "unknown", None),
    }


def test_s13_the_word_of_the_named_server_counts_and_no_other(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"inbox": INBOX}, sections={"authentication": {"authserv_id": "mx.ours.example"}})
    passes = "Authentication-Results: {id}; dkim=pass header.d=canonical.com; dmarc=pass header.from=canonical.com\n"
    fields = {
        "ours": passes.format(id="mx.ours.example"),
        "other": passes.format(id="mx.other.example"),
        "comment": "Authentication-Results: mx.ours.example; dkim=fail (dkim=pass header.d=canonical.com) header.d=canonical.com\n",
        "twice": passes.format(id="mx.ours.example") * 2,
        "fail wins": "Authentication-Results: mx.ours.example; dkim=pass header.d=canonical.com; dkim=fail header.d=canonical.com\n",
    }
    ids = dict(
        zip(
            fields,
            (line["mail_id"] for line in place.imported([letter("a@foo.com", fields=field) for field in fields.values()])),
            strict=True,
        )
    )
    place.drain()
    assert {name: place.outcome(id_)["strength"] for name, id_ in ids.items()} == {
        "ours": "strong",
        "other": "weak",
        "comment": "weak",
        "twice": "weak",
        "fail wins": "weak",
    }


def test_s14_s15_where_proof_is_demanded_an_unsigned_mail_is_returned(make: MakePlace, letter: Letters) -> None:
    strict = {"id": "strict", "addresses": ["strict@canonical.com"], "require_strong": True}
    vault = INBOX | {"domains": ["vault.org"], "require_strong": True}
    place = make(handlers={"inbox": INBOX, "vault": vault}, accounts=[SAMPLE, strict])
    ids = [line["mail_id"] for line in place.imported([letter("a@foo.com", "strict@canonical.com"), letter("a@vault.org")])]
    place.drain()
    assert [place.word(id_) for id_ in ids] == [("returned", "strong-required")] * 2
    assert len(place.outbox()) == 2


def test_s15_a_handler_may_demand_proof_for_one_command(make: MakePlace, letter: Letters) -> None:
    """The sender hears how to sign, not that something went wrong."""
    code = "def handle(mail):\n    if mail.recipient.startswith('close@'):\n        mail.demand_strong()\n"
    place = make(handlers={"bugs": {"use": "python", "python": "bugs:handle", "domains": ["foo.com"]}}, code={"bugs.py": code})
    ids = [line["mail_id"] for line in place.imported([letter("close@foo.com"), letter("comment@foo.com")])]
    place.drain()
    assert [place.word(id_) for id_ in ids] == [("returned", "strong-required"), ("handled", None)]
    (notice,) = place.outbox()
    assert "signed with OpenPGP" in words_of(notice)


@pytest.mark.parametrize("way", ["import", "pipe"])
def test_s16_a_mail_that_is_too_large_is_returned_to_an_account_only_and_costs_no_memory(
    make: MakePlace, letter: Letters, way: str
) -> None:
    place = make(handlers={"inbox": INBOX}, sections={"ingest": {"max_size": 1_000_000}})
    body = "a line of some length, again and again\n" * 40_000
    mails = [
        letter("a@foo.com", body=body),
        letter("a@foo.com", "nobody@nowhere.org", body=body),
        letter("a@foo.com", body=body, fields="Precedence: bulk\n"),
    ]
    if way == "import":
        place.imported(mails)
    else:
        for mail in mails:
            place.run("pipe", "--recipient", "a@foo.com", data=mail.encode())
    place.drain()
    words = sorted((row["status"], row["reason"], row["reply"] or "") for row in place.outcomes())
    assert words == [("dropped", "precedence", ""), ("returned", "too-large", "sent"), ("returned", "too-large", words[2][2])]
    assert words[2][2].startswith("silent:") or words[1][2].startswith("silent:")
    (reply,) = place.outbox()
    assert len(reply.as_bytes()) < 12_000
    assert place.maildir("inbox") == []
