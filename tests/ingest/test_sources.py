"""Where import finds mails, and the bytes that it finds."""

import os
import tracemalloc
from pathlib import Path

import pytest

from postroom.ingest.reading import Keeper, read_mail
from postroom.ingest.sources import Found, Sources, Unreadable
from topology.envelope import KEPT
from topology.facts import rfc3339

DATED = b"From x Sun Mar  1 12:00:00 2026"
MARK = b"\xef\xbb\xbf"
PLAIN = b"From: ann@example.org\r\nSubject: hello\r\n\r\nGood day.\r\n"


def found(*paths: Path, max_size: int = 100_000) -> list[Found | Unreadable]:
    return list(Sources(paths, max_size))


def mails(*paths: Path, max_size: int = 100_000) -> list[bytes]:
    """The bytes that were found; nothing may be unreadable."""
    return [one.mail.raw for one in found(*paths, max_size=max_size) if isinstance(one, Found) or pytest.fail(str(one))]


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("data", [PLAIN, b"", b"\x00" * 5000, b"no header here", b"\nbody only", b"From : x <a@b.org>\n\nx", b">From x\n"])
def test_a_file_that_is_named_is_one_mail_whatever_is_in_it(data: bytes, tmp_path: Path) -> None:
    assert mails(write(tmp_path, "something", data)) == [data]


def test_a_byte_order_mark_before_a_header_or_a_mailbox_is_no_part_of_it(tmp_path: Path) -> None:
    write(tmp_path, "1", MARK + PLAIN)
    write(tmp_path, "2.eml", MARK + b"X-Note: a\n\n")
    write(tmp_path, "3", MARK + DATED + b"\nSubject: 1\n\n")
    sources = Sources([tmp_path], 1000)
    assert mails(tmp_path) == [PLAIN, b"X-Note: a\n\n", b"Subject: 1\n"]
    assert mails(tmp_path / "1") == [PLAIN]
    assert [one.done for one in sources if isinstance(one, Found)][-1] == sources.total()


def test_a_byte_order_mark_stays_in_a_maildir_and_before_what_is_no_header(tmp_path: Path) -> None:
    write(tmp_path, "cur/1", MARK + PLAIN)
    (tmp_path / "new").mkdir()
    assert mails(tmp_path, write(tmp_path, "text", MARK + b"text only")) == [MARK + PLAIN, MARK + b"text only"]


LIST = b'<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict/></plist>\n'


@pytest.mark.parametrize("mail", [PLAIN, DATED + b"\n\n" + PLAIN, b"", b"x" * 300_000])
def test_an_emlx_file_gives_its_mail_without_count_and_list(mail: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, "INBOX.mbox/Messages/1.partial.emlx", b"%-10d\n" % len(mail) + mail + LIST)
    (whole,) = found(path, max_size=300_000)
    assert isinstance(whole, Found)
    assert whole.mail.raw == mail
    assert found(tmp_path, max_size=300_000) == [whole]
    (small,) = found(path, max_size=200_000)
    assert isinstance(small, Found)
    assert (small.mail.size, small.mail.digest) == (whole.mail.size, whole.mail.digest)


def test_an_emlx_file_that_ends_before_its_mail_cannot_be_read(tmp_path: Path) -> None:
    short = write(tmp_path, "1.emlx", b"100\n" + PLAIN)
    write(tmp_path, "2.emlx", PLAIN)
    first, second = found(tmp_path)
    assert first == Unreadable(str(short), None, f"cannot be read: it ends after {len(PLAIN)} of the 100 octets that its first line counts")
    assert isinstance(second, Found)
    assert second.mail.raw == PLAIN


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mailbox_gives_its_mails_without_separators_and_their_blank_lines(end: bytes, tmp_path: Path) -> None:
    lines = [
        b"From ann@example.org Sun Mar  1 12:00:00 2026",
        b"Subject: one",
        b"",
        b"text",
        b"",
        b"",
        b"From - Sun Mar  1 13:00:00 2026 +0100",
    ]
    lines += [b"Subject: two", b"", b"From here on it is text", b"", b"From the heart", b""]
    one, two = found(write(tmp_path, "box", end.join(lines) + end))
    assert isinstance(one, Found)
    assert isinstance(two, Found)
    assert one.mail.raw == end.join([b"Subject: one", b"", b"text", b"", b""])
    assert two.mail.raw == end.join([b"Subject: two", b"", b"From here on it is text", b"", b"From the heart"]) + end
    assert [one.index, two.index] == [0, 1]
    assert {rfc3339(one.time), rfc3339(two.time)} == {"2026-03-01T12:00:00.000Z"}


def test_a_mail_keeps_its_bytes_when_others_are_added_behind_it(tmp_path: Path) -> None:
    """Its ids are made of them, so a mailbox that has grown is imported again without doubles."""
    mail = b"From a Sun Mar  1 12:00:00 2026\nSubject: %d\n\ntext\n\n"
    box = write(tmp_path, "box", mail % 1)
    (alone,) = mails(box)
    box.write_bytes(mail % 1 + mail % 2)
    assert mails(box)[0] == alone == b"Subject: 1\n\ntext\n"


def test_quoted_from_lines_lose_one_mark(tmp_path: Path) -> None:
    raw = b"From a Sun Mar  1 12:00:00 2026\nSubject: x\n\n>From a\n>>From b\n> From c\n>from d\ntext >From e"
    assert mails(write(tmp_path, "box", raw)) == [b"Subject: x\n\nFrom a\n>From b\n> From c\n>from d\ntext >From e"]


@pytest.mark.parametrize(
    "separator",
    [
        b"From MAILER-DAEMON  Tue Jul  7 22:47:39 2009",
        b"From MAILER-DAEMON Mon 1 Jan 2015 00:00:00 +0900",
        b"From MAILER-DAEMON Fri Jan 1 00:0:00 2015",
        b"From ann@example.org Wed Oct 31 15:53:24 EDT 2018",
        b'From "ann b"@example.org Sat Dec  6 13:46:11 2014 remote from here',
        b"From ???@??? Sat Dec 06 13:46:11 2014",
        b"From - Fri Dec 13 15:01 1996",
        b"From ann@example.org Mon Jan  1 00:00:00 2024 GMT",
        b"From ann@example.org Mon Jan  1 00:00:00 2024 +0000 (UTC)",
        b"From ann@example.org 1 Jan 2024 00:00:00 +0000",
        b"From ann@example.org Jan  1 00:00:00 2024",
    ],
)
def test_separators_as_programs_write_them(separator: bytes, tmp_path: Path) -> None:
    box = write(tmp_path, "box", DATED + b"\nSubject: 1\n\n1\n\n" + separator + b"\nSubject: 2\n\n2\n")
    assert mails(box) == [b"Subject: 1\n\n1\n", b"Subject: 2\n\n2\n"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("separator", [b"From ", b"From ann@example.org", b"From ann@example.org 2024-01-01T00:00:00Z"])
def test_where_the_first_separator_has_no_date_no_other_needs_one(separator: bytes, end: bytes, tmp_path: Path) -> None:
    """Such are Thunderbird's mailboxes."""
    raws = [end.join([b"Subject: %d" % number, b"", b"From here on", b"", b">From: x", b"From ", b"", b"text", b""]) for number in range(3)]
    box = write(tmp_path, "Inbox", b"".join(separator + end + raw + end for raw in raws))
    boxed = found(box)
    assert [one.mail.raw for one in boxed if isinstance(one, Found)] == raws
    assert [one.done for one in boxed if isinstance(one, Found)] == [box.stat().st_size * number // 3 for number in (1, 2, 3)]
    box.write_bytes(b"".join(separator + end + raw + end for raw in raws[:2]))
    assert mails(box) == raws[:2]


def test_a_new_thunderbird_goes_on_with_the_mailbox_of_an_old_one(tmp_path: Path) -> None:
    raws = [b"X-Mozilla-Status: 0001\r\nSubject: %d\r\n\r\ntext\r\n" % number for number in range(4)]
    starts = [b"From - Mon Jan  1 00:00:00 2024\r\n"] * 2 + [b"From \r\n"] * 2
    assert mails(write(tmp_path, "Inbox", b"".join(start + raw + b"\r\n" for start, raw in zip(starts, raws, strict=True)))) == raws


@pytest.mark.parametrize(
    ("separator", "time"),
    [
        (b"Mon Jan  1 00:00:00 2024 GMT", "2024-01-01T00:00:00.000Z"),
        (b"Mon Jan  1 00:00:00 2024 EST", "2024-01-01T05:00:00.000Z"),
        (b"Mon, 1 Jan 2024 00:00:00 +0100 (CET)", "2023-12-31T23:00:00.000Z"),
        (b"1 Jan 2024 00:00:00 +0100", "2023-12-31T23:00:00.000Z"),
        (b"Jan  1 00:00:00 2024", "2024-01-01T00:00:00.000Z"),
    ],
)
def test_the_time_of_a_separator_as_programs_write_it(separator: bytes, time: str, tmp_path: Path) -> None:
    boxed = found(write(tmp_path, "box", b"From ann@example.org " + separator + b"\n" + PLAIN))
    assert [rfc3339(one.time) for one in boxed if isinstance(one, Found)] == [time]


@pytest.mark.parametrize(
    "line",
    [
        b"From Monday to Friday we are open",
        b"From ann, Sun Mar 1 12:00:00 2026: she wrote",
        b"From Sun Mar 1",
        b"From x " + b"y" * 2000 + b" Sun Mar  1 12:00:00 2026",
        b"From " + b"Sun " * 240,
        b"From ",
        b"From ann@example.org",
        b"From ann 1 Jan 2024 00:00:00",
        b"From ann Jan  1 00:00:00 2024 GMT",
    ],
)
@pytest.mark.parametrize("first", [DATED, b"From x"])
def test_text_that_only_begins_like_a_separator_stays_text(line: bytes, first: bytes, tmp_path: Path) -> None:
    raw = b"Subject: 1\n\n1\n\n" + line + b"\n2\n"
    assert mails(write(tmp_path, "box", first + b"\n" + raw)) == [raw]


@pytest.mark.parametrize("line", [b"From Monday on", b"From ", b"From ann@example.org", b"From 1 Jan 2024 00:00:00", b"From 1 Jan 10:00"])
def test_in_a_mailbox_of_dates_text_stays_text_before_what_looks_like_a_field(line: bytes, tmp_path: Path) -> None:
    raw = b"Subject: 1\n\n1\n\n" + line + b"\nNote: 2\n"
    assert mails(write(tmp_path, "box", DATED + b"\n" + raw)) == [raw]


def test_without_dates_an_address_on_the_web_is_no_field(tmp_path: Path) -> None:
    raw = b"Subject: 1\n\n1\n\nFrom our pages\nhttp://example.org/\n"
    assert mails(write(tmp_path, "box", b"From x\n" + raw)) == [raw]


def test_a_separator_needs_a_blank_line_before_it(tmp_path: Path) -> None:
    raw = b"Subject: 1\n\n1\nFrom - Fri Dec 13 15:01:21 1996\n2\n"
    assert mails(write(tmp_path, "box", b"From x\n" + raw)) == [raw]


def test_lines_of_any_length_pass_a_mailbox_unchanged(tmp_path: Path) -> None:
    """The reader takes long lines in pieces; a piece is not a line."""
    for length in range((64 << 10) - 3, (64 << 10) + 2):
        raw = b"Subject: 1\n\n" + b"y" * length + b"\r\nFrom - Fri Dec 13 15:01:21 1996\n\n" + b"x" * length + b">From z\n"
        assert mails(write(tmp_path, "box", b"From x\n" + raw), max_size=1 << 20) == [raw]


def test_an_old_macintosh_file_is_one_mail(tmp_path: Path) -> None:
    raw = b"From x Fri Dec 13 15:01:21 1996\rSubject: 1\r\r1\r\r"
    assert mails(write(tmp_path, "mac.eml", raw)) == [raw]


def test_a_maildir_gives_its_mails_by_file_name(tmp_path: Path) -> None:
    write(tmp_path, "cur/2.b:2,S", b"2")
    write(tmp_path, "new/1.a", b"From x Fri Dec 13 15:01:21 1996\n\nFrom y Fri Dec 13 15:01:21 1996\n")
    write(tmp_path, "new/3.c", b"")
    write(tmp_path, "tmp/4.d", PLAIN)
    write(tmp_path, "dovecot-uidlist", b"3 V1")
    write(tmp_path, ".Sent/cur/5.e", PLAIN)
    (tmp_path / ".Sent" / "new").mkdir()
    assert mails(tmp_path) == [b"From x Fri Dec 13 15:01:21 1996\n\nFrom y Fri Dec 13 15:01:21 1996\n", b"2", b"", PLAIN]


def test_a_directory_gives_what_is_named_or_looks_like_mail(tmp_path: Path) -> None:
    write(tmp_path, "b/1", b"1" + PLAIN)
    write(tmp_path, "b/2", b"2" + PLAIN)
    write(tmp_path, "a.eml", b"")
    write(tmp_path, "c/inbox", b"From x Fri Dec 13 15:01:21 1996\n\n3\n")
    write(tmp_path, "README.md", b"# Mails\n\nFrom: here\n")
    write(tmp_path, "settings.yaml", b"color: blue\n")
    write(tmp_path, "d/x.zone.json", b'{"a": 1}')
    write(tmp_path, "empty", b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    write(tmp_path, "b/1", PLAIN + b"1")
    write(tmp_path, "b/2", PLAIN + b"2")
    sources = Sources([tmp_path], 1000)
    assert [one.mail.raw for one in sources if isinstance(one, Found)] == [b"", PLAIN + b"1", PLAIN + b"2", b"\n3\n"]
    assert sources.skipped == 4


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "there.eml", PLAIN)
    missing, good = found(tmp_path / "missing.eml", tmp_path / "there.eml")
    assert missing == Unreadable(str(tmp_path / "missing.eml"), None, "cannot be read: No such file or directory")
    assert isinstance(good, Found)


def bad_link(folder: Path, name: str) -> Unreadable:
    """What is found of a link to itself."""
    folder.mkdir(exist_ok=True)
    (folder / name).symlink_to(name)
    return Unreadable(str(folder / name), None, "cannot be read: Too many levels of symbolic links")


def test_a_bad_link_in_a_folder_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "1.eml", b"1" + PLAIN)
    write(tmp_path, "3.eml", b"3" + PLAIN)
    write(tmp_path, "sub/4.eml", b"4" + PLAIN)
    bad = bad_link(tmp_path, "2")
    (tmp_path / "5").symlink_to("1.eml/behind a file")
    one, two, three, five, four = found(tmp_path)
    assert two == bad
    assert five == Unreadable(str(tmp_path / "5"), None, "cannot be read: Not a directory")
    assert [mail.mail.raw for mail in (one, three, four) if isinstance(mail, Found)] == [b"1" + PLAIN, b"3" + PLAIN, b"4" + PLAIN]


def test_a_link_to_a_mail_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A disk that is not mounted, say. What does not look like mail is passed over, as ever."""
    for name in ("1.eml", "lock", "box/new/2.b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to("/nowhere/at/all")
    (tmp_path / "box/cur").mkdir()
    sources = Sources([tmp_path], 1000)
    why = "cannot be read: No such file or directory"
    assert [*sources] == [Unreadable(str(tmp_path / name), None, why) for name in ("1.eml", "box/new/2.b")]
    assert sources.skipped == 1


def test_a_bad_link_in_a_maildir_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    write(tmp_path, "cur/1.a:2,S", PLAIN)
    write(tmp_path, "new/3.c", PLAIN)
    bad = bad_link(tmp_path / "cur", "2.b:2,S")
    unreadable, *rest = found(tmp_path)
    assert unreadable == bad
    assert [one.path for one in rest if isinstance(one, Found)] == [str(tmp_path / "cur/1.a:2,S"), str(tmp_path / "new/3.c")]


def test_a_bad_link_that_is_named_itself_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad, good = bad_link(tmp_path, "2"), write(tmp_path, "3.eml", PLAIN)
    unreadable, three = found(tmp_path / "2", good)
    assert unreadable == bad
    assert isinstance(three, Found)
    (behind,) = found(tmp_path / "2" / "1.eml")
    assert isinstance(behind, Unreadable)


def test_a_name_that_is_not_utf_8_can_still_be_shown(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.eml"))
    path.write_bytes(PLAIN)
    (one,) = found(tmp_path)
    assert one.path.endswith("/\N{REPLACEMENT CHARACTER}.eml")


def test_progress_ends_at_the_octets_there_are(tmp_path: Path) -> None:
    write(tmp_path, "1.eml", PLAIN)
    write(tmp_path, "box", b"From x\n\n1\n\nFrom x Fri Dec 13 15:01:21 1996\n\n22\n\n")
    write(tmp_path, "notes.txt", b"nothing")
    sources = Sources([tmp_path], 1000)
    done = [one.done for one in sources if isinstance(one, Found)]
    assert done == sorted(done)
    assert done[-1] == sources.total() - len(b"nothing")


@pytest.mark.parametrize("pieces", [1, 1000, 100_000])
def test_an_oversized_mail_is_kept_as_beginning_size_and_hash(pieces: int, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    keeper = Keeper(200_000)
    for at in range(0, len(data), pieces if pieces > 1 else len(data)):
        keeper.add(data[at : at + pieces] if pieces > 1 else data)
    kept = keeper.done()
    assert (kept.raw, kept.size, kept.truncated) == (data[:KEPT], len(data), True)
    write(tmp_path, "large.eml", data)
    write(tmp_path, "box", b"From x\n" + data)
    with (tmp_path / "large.eml").open("rb") as file:
        whole = read_mail(file, 300_000)
    assert (whole.raw, whole.digest, whole.truncated) == (data, kept.digest, False)
    assert [one.mail for one in found(tmp_path / "large.eml", max_size=200_000) if isinstance(one, Found)] == [kept]


def test_an_oversized_mail_in_a_mailbox_leaves_its_neighbours_whole(tmp_path: Path) -> None:
    box = b"From x\nSubject: 1\n\n1\n\nFrom x Fri Dec 13 15:01:21 1996\n%b\nFrom x Fri Dec 13 15:01:21 1996\nSubject: 3\n\n3\n"
    one, two, three = found(write(tmp_path, "box", box % (b"line\n" * 30_000)))
    assert isinstance(one, Found)
    assert isinstance(two, Found)
    assert isinstance(three, Found)
    assert (two.mail.truncated, two.mail.size, len(two.mail.raw)) == (True, 150_000, KEPT)
    assert [one.mail.raw, three.mail.raw] == [b"Subject: 1\n\n1\n", b"Subject: 3\n\n3\n"]


@pytest.mark.parametrize("size", [1 << 19, 1 << 20])
def test_a_mail_of_short_lines_takes_no_more_memory_than_another(size: int, tmp_path: Path) -> None:
    max_size = 1 << 19
    box = write(tmp_path, "box", b"From x\n" + b"1\n" * (size // 2))
    tracemalloc.start()
    try:
        (one,) = found(box, max_size=max_size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(one, Found)
    assert (one.mail.size, one.mail.truncated) == (size, size > max_size)
    assert peak < 2 * max_size + (256 << 10)  # that of the file's buffer and the like
