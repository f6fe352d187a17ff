"""E4, E6, E7, E9, R4, R5 and bad input, on the whole program."""

import json
import os
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from streams.record import Draft
from streams.sqlite import SqliteLog
from tests.acceptance.conftest import SAMPLE, MakePlace
from tests.acceptance.place import Letters
from tests.broker.broker import free_port
from tests.corpora import corpus

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}

DEADLY = """
import os, signal

def handle(mail):
    if mail.recipient.startswith("deadly@"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_e4_a_mail_that_kills_the_process_each_time_is_set_aside(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"h": {"use": "python", "python": "deadly:handle", "domains": ["h.org"]}}, code={"deadly.py": DEADLY})
    place.imported([letter(f"{local}@h.org") for local in ("a", "b", "deadly", "c", "d")])
    deaths = 0
    for _ in range(6):
        place.run("run", "--drain", status=None)
        if place.status == 0:
            break
        assert place.status == -signal.SIGKILL
        deaths += 1
    words = {row["recipient"]: (row["status"], row["reason"]) for row in place.outcomes()}
    assert words == {f"{local}@h.org": ("handled", None) for local in "abcd"} | {"deadly@h.org": ("failed", "crashed")}
    assert deaths == 3
    assert len(place.outbox()) == 1
    assert place.fsck()["doubled"] == 0


def test_e6_the_same_mailbox_twice_is_each_mail_once(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    box = place.write("box.mbox", "".join(f"From a@b Mon Mar  2 10:00:00 2026\n{letter('1@foo.com')}\n" for _ in range(300)))
    first = place.lines("import", str(box))
    again = place.lines("import", str(box))
    assert [line["repeat"] for line in first] == [False] * 300
    assert [line["repeat"] for line in again] == [True] * 300
    assert [line["mail_id"] for line in first] == [line["mail_id"] for line in again]
    place.drain()
    assert len(place.outcomes()) == len(place.maildir("foo")) == 300


def test_e6_an_import_killed_half_way_and_run_again_brings_each_mail_once(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("0@foo.com"))  # the log is there
    box = place.write("box.mbox", "".join(f"From a@b Mon Mar  2 10:00:00 2026\n{letter('1@foo.com')}\n" for _ in range(4000)))
    with closing(SqliteLog(place.folder / "postroom.db")) as log:
        (topic,) = [name for name in log.topics() if name.endswith(".raw")]
        child = place.start("import", str(box))
        while child.poll() is None and sum(extent.end for extent in log.extents(topic)) < 1000:
            time.sleep(0.005)
        child.kill()
        child.wait()
    repeats = [line["repeat"] for line in place.lines("import", str(box))]
    assert len(repeats) == 4000
    place.drain()
    assert len(place.outcomes()) == 4001
    assert place.fsck()["raw"] == 4001


def test_e6_a_hand_over_repeated_for_one_of_three_recipients_is_each_delivery_once(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    mail = letter("x@foo.com")
    three = [flag for local in ("1", "2", "3") for flag in ("--recipient", f"{local}@foo.com")]
    first = place.mail(mail, *three)
    second = place.mail(mail, "--recipient", "3@FOO.com")
    third = place.mail(mail, "--recipient", "3@foo.com", "--recipient", "4@foo.com")
    assert first == second == third
    place.drain()
    assert sorted(row["recipient"] for row in place.outcomes()) == ["1@foo.com", "2@foo.com", "3@foo.com", "4@foo.com"]
    found = place.fsck()
    assert (found["raw"], found["repeated"], found["doubled"]) == (3, 1, 0)


def hostile() -> dict[str, bytes]:
    """E7: mails that have broken others."""
    head = b"From: test@canonical.com\nTo: 1@foo.com\n"
    deep = (
        head + b"MIME-Version: 1.0\n" + b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(10_000))
    )
    return {
        "nothing at all": b"",
        "nuls": b"\x00" * 1000 + head + b"\n\x00\n",
        "nuls in fields": head.replace(b"1@", b"1\x00@") + b"Subject: \x00\n\n\x00",
        "100,000 fields": head + b"X-A: b\n" * 100_000 + b"\nhello\n",
        "a header of 2 MiB": head + b"X-A: " + b"b" * (2 << 20) + b"\n\nhello\n",
        "nested 10,000 deep": deep,
        "attached 2,000 deep": head + b"Content-Type: message/rfc822\n\n" * 2000 + b"hello\n",
        "broken charsets": head
        + b"Subject: =?no-such-charset?q?=FF?= =?utf-8?b?!!!?=\nContent-Type: text/plain; charset=nothing\n\n\xff\xfe\n",
        "one line of 9 MiB": head + b"\n" + b"a" * (9 << 20),
        "10 MiB field": head + b"X-A: " + b"b" * (10 << 20) + b"\n\n",
        "bare cr": head.replace(b"\n", b"\r") + b"\rhello\r",
        "no end of header": head.rstrip(),
        "surrogates": head + b"Subject: \xed\xa0\x80\n\nhello\n",
        "100,000 recipients": b"From: test@canonical.com\nTo: " + b", ".join(b"%d@foo.com" % n for n in range(50_000)) + b"\n\nhello\n",
    }


def test_e7_hostile_mail_has_an_outcome_each_and_bounded_memory(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO}, sections={"replies": {"answer": "anyone"}})
    mails = hostile()
    ids = dict(zip(mails, (line["mail_id"] for line in place.imported(list(mails.values()))), strict=True))
    done = subprocess.Popen(place.command("run", "--drain"), stderr=subprocess.PIPE)
    assert done.stderr
    stderr = done.stderr.read().decode()
    _, status, usage = os.wait4(done.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, stderr
    assert "Traceback" not in stderr
    assert usage.ru_maxrss < 700 * 1024  # KiB for all of them in one batch; 300 MiB each
    rows = {row["mail_id"]: row for row in place.outcomes()}
    assert set(ids.values()) <= rows.keys()
    reasons = {name: (rows[id_]["status"], rows[id_]["reason"]) for name, id_ in ids.items()}
    for name in ("100,000 fields", "a header of 2 MiB", "10 MiB field", "100,000 recipients"):
        assert reasons[name] in {("rejected", "malformed"), ("returned", "too-large")}, name
    assert reasons["nested 10,000 deep"] == reasons["one line of 9 MiB"] == ("handled", None)
    assert place.fsck()["lost"] == 0


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


def test_e9_facts_of_a_newer_version_stop_the_role_with_a_clear_word(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("1@foo.com"))
    with closing(SqliteLog(place.folder / "postroom.db")) as log:
        (topic,) = [name for name in log.topics() if name.endswith(".raw")]
        record = next(log.read(topic))
        facts = json.loads(record.header("ce_facts") or b"") | {"version": "2.0"}
        headers = tuple((name, json.dumps(facts).encode() if name == "ce_facts" else value) for name, value in record.headers)
        log.append([Draft(topic, b"newer", record.value, headers)])
    place.drain(status=2)
    assert "2.0" in place.stderr
    assert "upgrade" in place.stderr
    assert len(place.outcomes()) <= 1


def test_r4_a_failure_of_a_stranger_is_recorded_and_not_answered(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    mail_id = place.mail(letter("1@baz.com", "nobody@nowhere.org"))
    place.drain()
    row = place.outcome(mail_id)
    assert (row["status"], row["reason"]) == ("failed", "no-handler")
    assert row["reply"].startswith("silent:")
    assert place.lines("oops", row["oops_id"])
    assert not place.outbox()


class Sink:
    """A relay that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        assert isinstance(envelope.content, bytes)
        self.got.append(envelope.content)
        return "250 kept"


@contextmanager
def relay(port: int) -> Iterator[Sink]:
    """A real SMTP server on a port."""
    sink = Sink()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()


def test_r5_replies_wait_while_the_relay_is_down_and_each_is_sent_once_it_is_back(make: MakePlace, letter: Letters) -> None:
    port = free_port()
    place = make(handlers={"foo": FOO}, sections={"replies": {"outbox": "", "smtp": f"smtp://127.0.0.1:{port}"}})
    text = (place.folder / "postroom.toml").read_text().replace('outbox = ""\n', "")
    place.write("postroom.toml", text)
    place.imported([letter("1@baz.com") for _ in range(5)])
    place.run("run", "--drain", "--patience", "2s", status=75)
    assert [row["reply"] for row in place.outcomes()] == ["waiting"] * 5
    with relay(port) as sink:
        place.drain()
    assert [row["reply"] for row in place.outcomes()] == ["sent"] * 5
    assert len(sink.got) == 5
    assert all(row["reason"] == "no-handler" for row in place.outcomes())


def test_lmtp_takes_mails_while_everything_runs_and_stops_in_good_order(make: MakePlace, letter: Letters) -> None:
    port = free_port()
    place = make(handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"127.0.0.1:{port}"}})
    running = place.start("run")
    try:
        client = _lmtp(port)
        refused = client.sendmail("test@canonical.com", ["1@foo.com", "2@foo.com"], letter("1@foo.com"))
        assert refused == {}
        client.quit()
        deadline = time.monotonic() + 30
        while len(place.maildir("foo")) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
    assert {row["recipient"] for row in place.outcomes()} == {"1@foo.com", "2@foo.com"}
    assert place.outcomes()[0]["envelope_sender"] == "test@canonical.com"


def _lmtp(port: int) -> smtplib.LMTP:
    for _ in range(300):
        try:
            return smtplib.LMTP("127.0.0.1", port)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the listener did not come up")


def test_two_processes_share_the_work(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.imported([letter(f"{n}@foo.com") for n in range(400)])
    workers = [place.start("run", "--drain") for _ in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    assert len(place.outcomes()) == len(place.maildir("foo")) == 400
    assert place.fsck()["doubled"] == 0


BAD_SETTINGS = [
    ("[log]\nurl = 3\n", "url"),
    ("[log\n", "TOML"),
    ("[log]\nurll = 'x'\n", "did you mean url?"),
    ("[handlers.x]\nuse = 'maildir'\npath = 'x/'\n", "domains"),
    ("[handlers.x]\nuse = 'python'\npython = 'nowhere:handle'\ndomains = ['x.org']\n", "nowhere"),
    ("[handlers.x]\nuse = 'webhook'\nurl = 'https://x.org/'\ndomains = ['x.org']\n", "not built yet"),
    ("[accounts]\nkeys = 'no-such-folder/'\n", "no-such-folder"),
    ("[accounts]\nfile = 'none.toml'\n", "none.toml"),
]


@pytest.mark.parametrize(("settings", "word"), BAD_SETTINGS)
def test_a_wrong_setting_is_one_clear_line_and_touches_nothing(make: MakePlace, settings: str, word: str) -> None:
    place = make()
    place.write("postroom.toml", settings)
    before = sorted(os.listdir(place.folder))
    place.run("run", "--drain", status=2)
    assert word in place.stderr
    assert len(place.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir(place.folder)) == before


def test_an_address_of_two_accounts_is_refused(make: MakePlace) -> None:
    place = make(accounts=[SAMPLE, SAMPLE | {"id": "other", "addresses": ["TEST@canonical.com"]}])
    place.run("run", "--drain", status=2)
    assert "test@canonical.com belongs to two accounts" in place.stderr


def test_a_log_file_that_is_none_of_ours_is_refused_and_not_touched(make: MakePlace) -> None:
    place = make()
    for content in (b"no database at all, just some text" * 100, b""):
        (place.folder / "postroom.db").write_bytes(content)
        if content:
            place.run("run", "--drain", status=2)
            assert "postroom.db" in place.stderr
            assert (place.folder / "postroom.db").read_bytes() == content


def test_a_port_in_use_is_one_clear_line(make: MakePlace) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = make(handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"127.0.0.1:{taken.getsockname()[1]}"}})
        place.run("run", "lmtp", status=2)
    assert "ingest.lmtp" in place.stderr
    assert len(place.stderr.strip().splitlines()) == 1


def test_commands_that_are_not_built_yet_exit_2_and_say_so(make: MakePlace) -> None:
    place = make()
    for command in ("replay",):
        place.run(command, status=2)
        assert "not built yet" in place.stderr
    place.run("run", "dashboard", status=2)
    assert "not built yet" in place.stderr


def test_missing_topics_of_a_new_handler_are_named_and_made_on_demand(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO})
    place.mail(letter("1@foo.com"))
    with (place.folder / "postroom.toml").open("a") as file:
        file.write('[handlers.more]\nuse = "maildir"\npath = "more/"\ndomains = ["more.com"]\n')
    place.run("run", "--drain", status=2)
    assert "routed.more" in place.stderr
    place.run("topics", "--create")
    place.mail(letter("1@more.com"))
    place.drain()
    assert sorted(row["handler"] for row in place.outcomes()) == ["foo", "more"]


def test_init_writes_settings_that_check_accepts(make: MakePlace) -> None:
    place = make()
    for name in ("postroom.toml", "accounts.toml"):
        (place.folder / name).unlink()
    place.run("init")
    place.run("check")
    place.run("init", status=2)
    assert "is there already" in place.stderr


def test_check_names_what_is_wrong(make: MakePlace) -> None:
    place = make(handlers={"h": {"use": "command", "command": ["/no/such/program"], "domains": ["h.org"]}})
    place.run("check", status=2)
    lines = place.lines("check", status=2)
    assert [line["what"] for line in lines if line["state"] == "wrong"] == ["handlers"]
