"""Wrong use and a world that gives way, from outside: one line, the exit status, and nothing touched."""

import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from postroom import checks
from postroom.commands.demo import _activation
from postroom.site import Site
from streams.errors import Full
from tests.acceptance.calls import POSTROOM
from tests.acceptance.place import Letters, Place
from tests.broker.broker import free_port
from tests.replies.relays import Moods, relay

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}
LOG = ("postroom.db", "postroom.db.lock")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO})


@pytest.fixture
def letter() -> Letters:
    return Letters()


def said(place: Place) -> str:
    """The one line on standard error."""
    (line,) = place.stderr.splitlines()
    return line


def untouched(place: Place, names: Iterable[str] = LOG) -> bool:
    return not any((place.folder / name).exists() for name in names)


@pytest.mark.parametrize("args", [("list",), ("check",), ("import", "."), ("run", "--drain")])
@pytest.mark.parametrize(("name", "value"), [("POSTROOM_HANDLERS__FOO__DOMAINS", "bar.com"), ("POSTROOM_LOG", "x")])
def test_a_variable_that_cannot_be_read_is_one_line(place: Place, args: tuple[str, ...], name: str, value: str) -> None:
    place.run(*args, env={name: value, "POSTROOM_HANDLERS__FOO__PATH": "foo/", "POSTROOM_LOG__URL": "sqlite:///postroom.db"}, status=2)
    assert said(place).startswith(f"postroom: {name}: cannot be read: ")
    assert value not in said(place).split()
    assert untouched(place)


def test_a_variable_that_cannot_be_read_leaves_the_mail_with_the_mail_server(place: Place) -> None:
    place.run("pipe", data=b"From: a@b.org\n\nhi\n", env={"POSTROOM_LOG": "x"}, status=75)
    assert untouched(place)


@pytest.mark.parametrize("where", ["nowhere", "127.0.0.1:99999", "unix:no/such/socket", "unix:keys", "unix:postroom.toml"])
def test_a_place_where_nobody_can_listen_is_told_before_the_log_is_made(tmp_path: Path, where: str) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={"ingest": {"lmtp": where}})
    place.run("run", status=2)
    assert where in said(place)
    assert untouched(place)
    place.run("check", status=None)
    assert place.status == (0 if where.startswith("unix:") else 2)


@pytest.mark.parametrize("name", ["x" * 150, "x" * 300])
def test_a_socket_whose_path_is_too_long_is_told_before_the_log_is_made(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={"ingest": {"lmtp": f"unix:{name}"}})
    place.run("run", "lmtp", status=2)
    assert f"ingest.lmtp = 'unix:{name}'" in said(place)
    assert untouched(place)
    assert b"too long" in place.run("check", status=2)


@pytest.mark.parametrize("args", [("tail", "-n"), ("list", "--limit")])
def test_a_number_beyond_all_counting_is_wrong_use(place: Place, args: tuple[str, str]) -> None:
    place.run(*args, "100000000000000000000", status=2)
    assert str(sys.maxsize) in place.stderr


def test_a_listener_without_a_place_is_told_before_the_log_is_made(place: Place) -> None:
    place.run("run", "smtp", status=2)
    assert "[ingest] smtp" in said(place)
    assert untouched(place)


@pytest.mark.parametrize(("command", "status"), [("import", 2), ("pipe", 75)])
def test_an_archive_of_no_known_kind_is_told_before_the_log_is_made(tmp_path: Path, letter: Letters, command: str, status: int) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={"archive": {"url": "ftp://x"}})
    mail = place.write("mail.eml", letter("1@foo.com"))
    place.run(command, *([str(mail)] if command == "import" else []), data=mail.read_bytes(), status=status)
    assert "[archive] url" in said(place)
    assert untouched(place)


@pytest.mark.parametrize(
    ("section", "values", "word"),
    [
        ("log", {"url": "sqlite:///no/such/folder/x.db"}, "there is no folder"),
        ("log", {"url": f"sqlite:///{'x' * 300}"}, "too long"),
        ("log", {"url": "kafka://127.0.0.1:abc"}, "host:port"),
        ("log", {"url": "kafka://127.0.0.1:99999"}, "host:port"),
        ("archive", {"url": "file:accounts.toml/archive"}, "no folder"),
        ("replies", {"outbox": "accounts.toml/below/outbox"}, "no folder"),
        ("replies", {"templates": "nowhere/"}, "replies.templates: "),
        ("ingest", {"max_size": 0}, "max_size"),
    ],
)
def test_check_tells_what_cannot_work(tmp_path: Path, section: str, values: dict[str, object], word: str) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={section: values})
    told = place.run("check", status=2).decode() + place.stderr
    assert told.count(word) == 1


def test_check_tells_a_handlers_database_that_is_not_there_and_not_its_password(tmp_path: Path) -> None:
    database = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/bugs"
    handler = {"use": "python", "python": "bar:handle", "database": database, "domains": ["bar.com"]}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"bar": handler}, code={"bar.py": "def handle(mail): ..."})
    (found,) = [line for line in place.lines("check", status=75) if line["what"] == "handler bar"]
    assert (found["state"], found["words"].startswith("[handlers.bar] database: ")) == ("away", True)
    assert "hunter2" not in found["words"]


def test_check_tells_where_nothing_may_be_written_and_that_there_is_no_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be made later, by a role that runs for long."""
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setenv("POSTROOM_INGEST__MIN_FREE", "1000000000GB")
    with closing(Site.at(place.folder / "postroom.toml")) as site:
        found = {one.what: one for one in checks.run(site) if one.state != "ok"}
    for what, key in [("log", "[log] url"), ("archive", "[archive] url"), ("handler foo", "[handlers.foo] path"), ("oops", "[oops] path")]:
        assert found[what].words.startswith(f"{key} = ")
        assert (found[what].state, found[what].words.endswith(f": {place.folder} may not be written")) == ("wrong", True)
    assert found["replies"].words == f"[replies] outbox = outbox: {place.folder} may not be written"
    assert (found["room"].state, "ingest.min_free" in found["room"].words) == ("away", True)
    assert untouched(place)


def test_the_disk_that_the_log_is_on_is_watched_wherever_the_settings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etc", "var"):
        (tmp_path / name).mkdir()
    place = Place(tmp_path / "etc", f"sqlite:///{tmp_path}/var/postroom.db")
    room = os.statvfs(tmp_path)
    full = os.statvfs_result([*room[:4], 0, *room[5:10]])
    monkeypatch.setattr(os, "statvfs", lambda path: full if Path(path).is_relative_to(tmp_path / "var") else room)
    with closing(Site.at(place.folder / "postroom.toml")) as site, pytest.raises(Full, match=r"var/postroom\.db: its disk has 0 MB free"):
        site.acceptor.room.check()


def test_a_maildir_below_a_file_is_told_before_the_log_is_made(tmp_path: Path) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO | {"path": "accounts.toml/foo"}})
    place.run("run", "--drain", status=2)
    assert "[handlers.foo] path" in said(place)
    assert untouched(place)
    assert b"is a file" in place.run("check", status=2)


def test_check_tells_a_relay_that_is_not_there_and_sends_nothing_to_one_that_is(tmp_path: Path) -> None:
    moods = Moods()
    with relay(moods) as port:
        place = Place(tmp_path, "sqlite:///postroom.db", sections={"replies": {"smtp": f"smtp://127.0.0.1:{port}"}})
        place.run("check")
    (found,) = [line for line in place.lines("check", status=75) if line["what"] == "replies"]
    assert (found["state"], moods.taken) == ("away", [])
    assert f"replies.smtp: 127.0.0.1:{port}: " in found["words"]


@pytest.mark.parametrize("command", ["list", "fsck", "failures", "tail"])
def test_a_log_on_which_nothing_ever_came_in_is_not_passed_off_as_one_where_all_is_well(
    place: Place, letter: Letters, command: str
) -> None:
    place.run(command)
    assert "nothing has come in yet" in said(place)
    place.imported([letter("1@foo.com")])
    place.run(command)
    assert place.stderr == ""


def test_output_that_nobody_reads_to_its_end_is_no_fault(place: Place, letter: Letters) -> None:
    place.imported([letter(f"{number}@foo.com") for number in range(300)])
    place.drain()
    reading, writing = os.pipe()
    with subprocess.Popen(place.command("list", "--json"), stdout=writing, stderr=subprocess.PIPE) as listing:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        assert listing.stderr
        assert listing.stderr.read() == b""
    assert listing.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [("list",), ("fsck", "--json"), ("check",)])
def test_output_for_which_there_is_no_room_is_one_line(place: Place, letter: Letters, args: tuple[str, ...]) -> None:
    place.imported([letter("1@foo.com")])
    place.drain()
    with open("/dev/full", "wb") as full:
        done = subprocess.run(place.command(*args), check=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, len(done.stderr.splitlines())) == (75, 1)
    assert b"No space left" in done.stderr


def test_the_demo_says_how_the_shell_finds_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert _activation() == "  . bin/activate\n"
    monkeypatch.setenv("PATH", str(Path(POSTROOM).parent))
    assert _activation() == ""


def test_a_demo_in_place_of_a_file_is_refused(place: Place) -> None:
    place.run("demo", "--folder", str(place.folder / "postroom.toml"), status=2)
    assert "--folder" in said(place)
    place.run("demo", "--folder", str(place.folder / "postroom.toml" / "below"), status=2)
    assert "--folder" in said(place)


def test_the_time_of_an_error_report_is_written_like_every_other(tmp_path: Path, letter: Letters) -> None:
    handlers = {"foo": FOO | {"use": "python", "python": "broken:handle"}}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=handlers, code={"broken.py": "def handle(mail):\n    raise ValueError\n"})
    mail = place.mail(letter("1@foo.com"))
    place.drain()
    (told,) = place.lines("oops", place.outcome(mail)["oops_id"], "--json")
    assert told["report"]["time"].endswith("Z")
    assert len(told["report"]["time"]) == len("2026-03-02T10:00:00.000Z")


# -- streams that are closed or full ---------------------------------------------------------------------------------


MAIL = b"From: a@b.org\nTo: 1@foo.com\n\nhi\n"


def shell(place: Place, streams: str, *args: str) -> "subprocess.CompletedProcess[bytes]":
    """The program itself, its streams as the shell makes them of `streams`."""
    return subprocess.run(["sh", "-c", f'exec "$@" {streams}', "sh", *place.command(*args)], input=MAIL, capture_output=True, check=False)


def test_a_settings_file_that_cannot_be_read_leaves_the_mail_with_the_mail_server(place: Place) -> None:
    """A folder stands for it, since root may read everything; and a file that is closed to whoever is not root."""
    file = place.folder / "postroom.toml"
    file.chmod(0)
    if os.access(file, os.R_OK):
        file.unlink()
        file.mkdir()
    for args, status in ((("pipe",), 75), (("list",), 2)):
        done = shell(place, "", *args)
        assert done.returncode == status
        (line,) = done.stderr.decode().splitlines()
        assert line.startswith(f"postroom: {file}: cannot be read: ")
    assert untouched(place)


def test_only_the_settings_say_whether_their_file_can_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line's own look would be wrong use (2), for a pipe too."""
    from typer.main import get_command

    from postroom.cli import app

    monkeypatch.setattr(os, "access", lambda _path, mode: mode != os.R_OK)
    with get_command(app).make_context("postroom", ["--config", str(place.folder / "postroom.toml"), "list"]):
        pass


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "2>&- >&-", ">/dev/full 2>/dev/full"])
def test_what_nobody_hears_changes_no_status(place: Place, streams: str) -> None:
    assert shell(place, streams, "pipe", "--recipient", "1@foo.com").returncode == 0
    assert shell(place, streams, "show", "0" * 32).returncode == 1
    (place.folder / "postroom.toml").write_text("[nonsense]\n")
    assert shell(place, streams, "pipe").returncode == 75
    assert shell(place, streams, "list").returncode == 2


@pytest.mark.parametrize(
    "args", [("pipe", "--recipient", "1@foo.com"), ("list",), ("list", "--json"), ("import", "postroom.toml"), ("topology",)]
)
def test_a_closed_standard_output_is_nobody_who_reads(place: Place, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    monkeypatch.chdir(place.folder)
    for streams in (">&-", "<&- >&-") if args[0] != "pipe" else (">&-",):
        done = shell(place, streams, *args)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert place.fsck()["raw"] == (args[0] in ("pipe", "import"))


def test_a_closed_standard_input_is_no_mail(place: Place) -> None:
    for streams in ("<&-", "<&- >&-"):
        done = shell(place, streams, "pipe", "--recipient", "1@foo.com")
        assert (done.returncode, done.stdout) == (75, b"")
        assert done.stderr == b"postroom: standard input is closed: the mail is to be handed over there\n"
    assert untouched(place)


# -- what check says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["postroom.toml", "postroom.toml/oops"])
def test_check_says_that_a_file_stands_where_reports_are_to_go(tmp_path: Path, path: str) -> None:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, sections={"oops": {"path": path}})
    (found,) = [line for line in place.lines("check", status=2) if line["state"] == "wrong"]
    assert (found["what"], found["words"]) == ("oops", f"[oops] path = {path}: {tmp_path}/postroom.toml is a file, and no folder")
    assert untouched(place)


def test_check_says_which_handler_never_gets_a_mail(tmp_path: Path) -> None:
    """The first takes all mail of a domain unless it has patterns; behind one that has, it is as it should be."""
    domains = {"some": ["foo.com"], "all": ["foo.com", "bar.com"], "none": ["FOO.com", "baz.com"]}
    handlers = {name: FOO | {"domains": found, "path": f"{name}/"} for name, found in domains.items()}
    handlers["some"]["patterns"] = ["[0-9]+"]
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=handlers)
    (found,) = [line for line in place.lines("check") if line["what"].startswith("handler") and line["state"] != "ok"]
    assert (found["what"], found["state"]) == ("handler none", "odd")
    assert found["words"].startswith("all mail for foo.com goes to all, ")


@pytest.mark.parametrize(
    "args",
    [
        *(("list", flag) for flag in ("--handler", "--account", "--message-id", "--fingerprint", "--where", "--id", "--since", "--sender")),
        *((command,) for command in ("show", "why", "oops")),
        ("accounts", "show"),
        ("accounts", "add", "ada", "--name"),
        ("erase", "--reason", "loop", "--apply", "--why"),
        ("replay", "--reason", "loop", "--apply", "--why"),
    ],
)
def test_an_argument_that_is_not_utf_8_is_wrong_use(place: Place, args: tuple[str, ...]) -> None:
    place.run(*args, "Gr\udcfcn", status=2)
    assert place.stderr.splitlines()[-1].endswith("'Gr\\udcfcn' is not UTF-8")
    assert untouched(place)


def test_a_file_name_need_not_be_utf_8(place: Place, letter: Letters) -> None:
    mail, box = (str(place.folder / os.fsdecode(name)) for name in (b"Gr\xfcn.eml", b"Gr\xfcn.mbox"))
    Path(mail).write_text(letter("1@foo.com"))
    (line,) = place.lines("import", mail)
    assert (line["error"], line["path"][-8:]) == (None, "Gr\N{REPLACEMENT CHARACTER}n.eml")
    place.run("import", mail)
    place.drain()
    (done,) = place.lines("export", "--to", box)
    assert (done["mails"], done["to"][-9:]) == (1, "Gr\N{REPLACEMENT CHARACTER}n.mbox")
    assert Path(box).exists()


def test_a_mail_of_a_sender_that_is_not_utf_8_is_taken_in_all_the_same(place: Place, letter: Letters) -> None:
    place.run("pipe", "--sender", "Gr\udcfcn@b.org", "--recipient", "1@foo.com", data=letter("1@foo.com").encode())


@pytest.mark.parametrize("rate", ["inf", "-inf", "nan", "0", "-1"])
@pytest.mark.parametrize("what", [("--reason", "loop", "--apply"), ("--resume", "1")])
def test_a_rate_that_is_none_is_wrong_use(place: Place, rate: str, what: tuple[str, ...]) -> None:
    place.run("replay", *what, "--rate", rate, status=2)
    assert "Invalid value for '--rate': " in place.stderr.splitlines()[-1]
    assert untouched(place)


def test_check_counts_what_is_wrong_before_what_is_away(tmp_path: Path) -> None:
    """Waiting for what is away helps nobody then."""
    handlers = {"h": {"use": "python", "python": "h:handle", "domains": ["h.org"], "database": "postgresql://u@127.0.0.1:1/x"}}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers=handlers, code={"h.py": "def handle(mail): pass\n"})
    place.run("check", status=75)
    place.write("postroom.toml", (place.folder / "postroom.toml").read_text().replace('keys = "keys/"', 'keys = "nowhere/"'))
    states = {finding["state"] for finding in place.lines("check", status=2)}
    assert {"wrong", "away"} <= states
