"""E7, and the real mails of every kind, on the whole program."""

import time

from tests.acceptance.conftest import MakePlace
from tests.corpora import corpus

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}
HEAD = b"From: test@canonical.com\nTo: 1@foo.com\n"
MOST_KIB = 300 * 1024


def hostile() -> dict[str, bytes]:
    """Mails that have broken others."""
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(10_000))
    return {
        "nothing at all": b"",
        "nuls": b"\x00" * 1000 + HEAD + b"\n\x00\n",
        "nuls in fields": HEAD.replace(b"1@", b"1\x00@") + b"Subject: \x00\n\n\x00",
        "100,000 fields": HEAD + b"X-A: b\n" * 100_000 + b"\nhello\n",
        "a header of 2 MiB": HEAD + b"X-A: " + b"b" * (2 << 20) + b"\n\nhello\n",
        "a header of just under 1 MiB": HEAD + b"X-A: " + b"b" * ((1 << 20) - 100) + b"\n\nhello\n",
        "a folded field of 200,000 lines": HEAD + b"X-A: b\n" + b" c\n" * 200_000 + b"\nhello\n",
        "nested 10,000 deep": HEAD + b"MIME-Version: 1.0\n" + deep,
        "attached 2,000 deep": HEAD + b"Content-Type: message/rfc822\n\n" * 2000 + b"hello\n",
        "a million parts": HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * 1_000_000,
        "broken charsets": HEAD + b"Subject: =?no?q?=FF?= =?utf-8?b?!!!?=\nContent-Type: text/plain; charset=nothing\n\n\xff\xfe\n",
        "one line of 9 MiB": HEAD + b"\n" + b"a" * (9 << 20),
        "a field of 10 MiB": HEAD + b"X-A: " + b"b" * (10 << 20) + b"\n\n",
        "9 MiB of line ends": HEAD + b"\n" * (9 << 20),
        "9 MiB of dashes": HEAD + b"\n" + b"-" * (9 << 20),
        "bare cr": HEAD.replace(b"\n", b"\r") + b"\rhello\r",
        "no end of header": HEAD.rstrip(),
        "surrogates": HEAD + b"Subject: \xed\xa0\x80\n\nhello\n",
        "50,000 recipients": b"From: test@canonical.com\nTo: " + b", ".join(b"%d@foo.com" % n for n in range(50_000)) + b"\n\nhello\n",
        "100,000 opening comments": b"From: " + b"(" * 100_000 + b"test@canonical.com\nTo: " + b"(" * 100_000 + b"1@foo.com\n\nhello\n",
        "a signed text without end": HEAD + b"\n-----BEGIN PGP SIGNED MESSAGE-----\n" + b"- -\n" * 1_000_000,
        "10,000 armours": HEAD + b"\n" + b"-----BEGIN PGP SIGNED MESSAGE-----\n\n-----BEGIN PGP SIGNATURE-----\n" * 10_000,
        "1,000 dkim signatures": b"DKIM-Signature: v=1; a=rsa-sha256; d=canonical.com; s=s; h=from; bh=AA==; b=AA==\n" * 1000
        + HEAD
        + b"\nhello\n",
    }


MALFORMED = {"100,000 fields", "a header of 2 MiB", "50,000 recipients"}
TOO_LARGE = {"a field of 10 MiB"}
HANDLED = {"nested 10,000 deep", "one line of 9 MiB", "a million parts", "9 MiB of line ends", "surrogates", "broken charsets"}


def test_e7_each_hostile_mail_has_an_outcome_and_bounded_memory(make: MakePlace) -> None:
    """Each alone, in processes of its own. How long each took is shown, and not judged: the machine may be busy."""
    place = make(handlers={"foo": FOO}, sections={"replies": {"answer": "anyone"}})
    files = {name: place.folder / f"{number}.eml" for number, name in enumerate(hostile())}
    for name, data in hostile().items():
        files[name].write_bytes(data)
    most: dict[str, int] = {}
    ids: dict[str, str] = {}
    for name, file in files.items():
        began = time.monotonic()
        ids[name] = place.lines("import", str(file))[0]["mail_id"]
        held, said = place.kib, place.stderr
        place.drain()
        assert "Traceback" not in said + place.stderr, name
        most[name] = max(held, place.kib)
        print(f"{name}: {most[name] >> 10} MiB, {time.monotonic() - began:.1f} s")
    assert {name: kib for name, kib in most.items() if kib > MOST_KIB} == {}
    rows = {row["mail_id"]: (row["status"], row["reason"]) for row in place.outcomes()}
    found = place.fsck()
    assert (found["raw"], found["ended"], found["lost"], found["doubled"]) == (len(most), len(most), 0, 0)
    assert {rows[ids[name]] for name in MALFORMED} == {("rejected", "malformed")}
    assert {rows[ids[name]] for name in TOO_LARGE} <= {("returned", "too-large"), ("rejected", "malformed")}
    assert {rows[ids[name]] for name in HANDLED} == {("handled", None)}


def test_e7_all_of_them_together_have_an_outcome_each(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO}, sections={"replies": {"answer": "anyone"}})
    ids = {line["mail_id"] for line in place.imported(list(hostile().values()))}
    place.drain()
    assert "Traceback" not in place.stderr
    assert ids == {row["mail_id"] for row in place.outcomes()}
    found = place.fsck()
    assert (found["ended"], found["lost"], found["doubled"], found["unknown"]) == (len(ids), 0, 0, 0)


def test_real_mails_of_every_kind_have_an_outcome_each_and_robots_are_never_answered(make: MakePlace) -> None:
    place = make(
        handlers={"all": {"use": "maildir", "path": "all/", "domains": ["*"], "allow_unknown_senders": True}},
        sections={"replies": {"answer": "anyone"}},
    )
    ids = {line["path"]: line["mail_id"] for line in place.lines("import", *(str(mail.file) for mail in corpus()))}
    place.drain()
    assert "Traceback" not in place.stderr
    rows = {row["mail_id"]: row for row in place.outcomes()}
    assert len(ids) == len(corpus())
    assert set(ids.values()) == set(rows)
    for mail in corpus("bounces", "autoreplies", "reports"):
        if mail.id != "bounces/flufl-groupwise_03":  # a person's answer to a mail, whatever its source calls it
            assert rows[ids[str(mail.file)]]["reply"] in (
                None,
                *(f"silent:{rule}" for rule in ("screened", "list", "automatic-subject", "suppressed", "list-manager")),
            ), mail.id
    bounces = [rows[ids[str(mail.file)]]["status"] for mail in corpus("bounces")]
    assert bounces.count("dropped") >= len(bounces) - 4
    found = place.fsck()
    assert (found["lost"], found["doubled"], found["unknown"]) == (0, 0, 0)
