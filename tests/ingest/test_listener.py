"""The listeners as a whole: where they bind, what they share, what they bear, and how they stop."""

import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from postroom.archive import ObjectArchive
from postroom.ingest.limits import Limits
from postroom.ingest.listener import Listener
from postroom.ingest.place import ListenerError, place_of
from postroom.ingest.room import Room
from tests.ingest.client import Client
from tests.ingest.listening import Listening
from tests.ingest.place import MAIL, Place, numbered


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0", "192.0.2.1:25", "mx.example.org:25", ":25"])
def test_places_that_other_machines_reach_need_leave(where: str, place: Place) -> None:
    with pytest.raises(ListenerError, match=r"ingest\.lmtp = "):
        place_of("lmtp", where, place.folder)


def test_with_leave_they_may(place: Place) -> None:
    listener = Listener(place_of("lmtp", "0.0.0.0:0", place.folder, allow_remote=True), place.acceptor(), lmtp=True)
    listener.start()
    assert listener.address.startswith("0.0.0.0:")
    listener.stop()


@pytest.mark.parametrize("where", ["nonsense", "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:smtp", ""])
def test_a_place_that_cannot_be_understood_is_refused_by_name(where: str, place: Place) -> None:
    with pytest.raises(ListenerError, match=r"ingest\.smtp = .*host:port"):
        place_of("smtp", where, place.folder)


def test_a_port_in_use_is_one_clear_word(lmtp: Listening, place: Place) -> None:
    with pytest.raises(
        ListenerError, match=rf"ingest\.lmtp = '{lmtp.address}': cannot listen there: Address already in use.*another place"
    ):
        Listener(place_of("lmtp", lmtp.address, place.folder), place.acceptor(), lmtp=True).start()


def test_a_unix_socket_is_relative_to_the_settings_and_goes_with_the_listener(place: Place) -> None:
    with Listening(place, "lmtp", "unix:lmtp.sock") as listening:
        assert listening.address == str(place.folder / "lmtp.sock")
        assert os.stat(listening.address).st_mode & 0o007 == 0
        with Client(listening.address) as client:
            client.greet().envelope().say(MAIL + b".\r\n")
            assert client.hear().startswith("250 ")
        with pytest.raises(ListenerError, match="in use"):
            Listener(place_of("lmtp", "unix:lmtp.sock", place.folder), place.acceptor(), lmtp=True).start()
    assert not (place.folder / "lmtp.sock").exists()
    assert place.mails() == [MAIL]


def test_the_socket_of_a_listener_that_was_killed_is_taken_over_and_other_files_are_not(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.folder / "lmtp.sock"))
    with Listening(place, "lmtp", "unix:lmtp.sock") as listening, Client(listening.address) as client:
        client.greet()
    (place.folder / "notes.txt").write_text("dear diary")
    with pytest.raises(ListenerError):
        Listener(place_of("lmtp", "unix:notes.txt", place.folder), place.acceptor(), lmtp=True).start()
    assert (place.folder / "notes.txt").read_text() == "dear diary"


def test_what_many_connections_hand_over_at_one_time_shares_a_transaction(lmtp: Listening, place: Place) -> None:
    clients = [Client(lmtp.address).greet().envelope() for _ in range(12)]
    lmtp.log.gate.clear()
    clients[0].say(numbered(0) + b".\r\n")
    assert lmtp.log.entered.wait(10)
    for number, client in enumerate(clients[1:], 1):
        client.say(numbered(number) + b".\r\n")
    with Client(lmtp.address) as other:  # answered after all the others were read, as the loop takes them in turn
        other.greet()
    lmtp.log.gate.set()
    assert all(client.hear().startswith("250 ") for client in clients)
    assert sum(lmtp.log.batches) == 12
    assert len(lmtp.log.batches) < 6
    assert sorted(place.mails()) == sorted(numbered(number) for number in range(12))
    for client in clients:
        client.close()


def test_a_client_that_goes_away_within_a_mail_leaves_nothing(lmtp: Listening, place: Place) -> None:
    with Client(lmtp.address) as client:
        client.greet().envelope().say(MAIL + b".\r")
    with Client(lmtp.address) as client:
        client.greet().envelope().say(MAIL)
        client.finish_saying()
        assert client.hung_up()
    assert place.records() == []


def test_a_client_that_goes_away_before_its_answer_harms_nobody(lmtp: Listening, place: Place) -> None:
    lmtp.log.gate.clear()
    with Client(lmtp.address) as client:
        client.greet().envelope().say(MAIL + b".\r\n")
        assert lmtp.log.entered.wait(10)
    with Client(lmtp.address) as client:
        client.greet().envelope().say(MAIL + b".\r\n")
        lmtp.log.gate.set()
        assert client.hear().startswith("250 ")
    assert place.mails() == [MAIL]


def test_when_the_archive_is_away_every_recipient_hears_451_until_it_is_back(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A11."""
    blocked = place.folder / "blocked"
    blocked.touch()
    archive = ObjectArchive("file:blocked/archive/", place.folder)
    with Listening(place, "lmtp", archive=archive, inline_limit=0) as listening, Client(listening.address) as client:
        client.greet().envelope(b"a@example.org", b"b@example.org").say(MAIL + b".\r\n")
        assert [client.hear()[:9], client.hear()[:9]] == ["451 4.3.0"] * 2
        assert "archive.url = 'file:blocked/archive/'" in caplog.text
        assert place.records() == []
        blocked.unlink()
        client.envelope(b"a@example.org", b"b@example.org").say(MAIL + b".\r\n")
        assert [client.hear()[:3], client.hear()[:3]] == ["250"] * 2
    assert len(place.records()) == 1


def test_below_min_free_the_answer_is_452_at_mail(place: Place) -> None:
    room = Room(1 << 60, [place.folder])
    with Listening(place, "lmtp", room=room) as listening, Client(listening.address) as client:
        assert client.greet().ask(b"MAIL FROM:<ann@example.org>").startswith("452 4.3.1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=4m"):
        pytest.skip("a file system of one's own needs root: a full disk is not tested")
    try:
        yield folder
    finally:
        libc.umount2(os.fsencode(folder), 2)


@pytest.mark.parametrize("inline_limit", [0, 1 << 20])
def test_a_full_disk_is_452_and_goes_on_when_there_is_room(small_disk: Path, inline_limit: int) -> None:
    """Log and archive are both on it; with the limit at 0 the archive is the first to notice."""
    with Place(small_disk) as place, Listening(place, "lmtp", inline_limit=inline_limit) as listening, Client(listening.address) as client:
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        client.greet().envelope().say(numbered(1, b"x" * 90_000 + b"\r\n") + b".\r\n")
        assert client.hear().startswith("452 4.3.1")
        ballast.unlink()
        client.envelope().say(numbered(1, b"x" * 90_000 + b"\r\n") + b".\r\n")
        assert client.hear().startswith("250 ")
        assert len(place.mails()) == 1


def test_more_connections_than_allowed_are_sent_away(place: Place) -> None:
    two_at_once = Listening(place, "lmtp", limits=lambda size: Limits(size, connections=2))
    with two_at_once as listening, Client(listening.address) as one, Client(listening.address) as two:
        one.greet()
        two.greet()
        with Client(listening.address) as three:
            assert three.hear().startswith("421 4.3.2")
            assert three.hung_up()
        one.ask(b"QUIT")
        assert one.hung_up()
        with Client(listening.address) as four:
            four.greet()


def test_a_client_that_says_nothing_or_too_slowly_is_hung_up_on(place: Place) -> None:
    quick = lambda size: Limits(size, command=0.2, data=0.2)  # noqa: E731
    with Listening(place, "lmtp", limits=quick) as listening:
        with Client(listening.address) as client:
            client.hear()
            client.say(b"LHL")
            assert client.hear().startswith("421 4.4.2")
            assert client.hung_up()
        with Client(listening.address) as client:
            client.greet().envelope(b"a@example.org", b"b@example.org").say(MAIL)
            assert [client.hear()[:9], client.hear()[:9]] == ["421 4.4.2"] * 2
            assert client.hung_up()
    assert place.records() == []


def test_a_connection_does_not_live_for_ever(place: Place) -> None:
    with Listening(place, "lmtp", limits=lambda size: Limits(size, life=0.3)) as listening, Client(listening.address) as client:
        client.greet()
        assert client.hear().startswith("421 4.3.2")
        assert client.hung_up()


def test_a_client_that_only_makes_mistakes_is_hung_up_on(lmtp: Listening) -> None:
    with Client(lmtp.address) as client:
        client.greet()
        assert [client.ask(b"GET / HTTP/1.1")[:3] for _ in range(11)] == ["500"] * 10 + ["421"]
        assert client.hung_up()


@pytest.mark.parametrize("line", [b"x" * 3000 + b"\r\n", b"x" * 200_000])
def test_a_command_of_any_length_is_not_kept(line: bytes, lmtp: Listening) -> None:
    with Client(lmtp.address) as client:
        client.greet().say(line)
        assert client.hear().startswith("500 5.5.2")


def test_mails_in_hand_are_limited_together(place: Place) -> None:
    little = Listening(place, "lmtp", limits=lambda size: Limits(size, in_hand=50_000))
    with little as listening, Client(listening.address) as large, Client(listening.address) as small:
        large.greet().envelope().say(numbered(1, b"x" * 60_000 + b"\r\n") + b".\r\n")
        assert large.hear().startswith("452 4.3.1")
        small.greet().envelope().say(MAIL + b".\r\n")
        assert small.hear().startswith("250 ")


def test_stopping_answers_what_is_in_hand_and_sends_the_others_away(place: Place) -> None:
    with Listening(place, "lmtp") as listening:
        idle, storing, receiving = (Client(listening.address).greet() for _ in range(3))
        receiving.envelope().say(numbered(2)[:20])
        listening.log.gate.clear()
        storing.envelope().say(numbered(1) + b".\r\n")
        assert listening.log.entered.wait(10)
        stopper = threading.Thread(target=listening.listener.stop)
        stopper.start()
        assert idle.hear().startswith("421 4.3.2")
        assert idle.hung_up()
        idle.close()
        receiving.say(numbered(2)[20:] + b".\r\n")
        listening.log.gate.set()
        for client in (storing, receiving):
            assert client.hear().startswith("250 ")
            assert client.hear().startswith("421 4.3.2")
            assert client.hung_up()
            client.close()
        stopper.join()
        with pytest.raises(ConnectionRefusedError):
            Client(listening.address)
        assert sorted(place.mails()) == [numbered(1), numbered(2)]


def test_stopping_does_not_wait_for_ever(place: Place) -> None:
    with Listening(place, "lmtp") as listening, Client(listening.address) as client:
        client.greet().envelope().say(b"never ending")
        listening.listener.stop(grace=0.2)
        assert client.hung_up()


_SERVER = """
import sys
from pathlib import Path
from postroom.ingest.listener import Listener
from postroom.ingest.place import place_of
from tests.ingest.place import Place
place = Place(Path(sys.argv[1]))
listener = Listener(place_of("lmtp", "127.0.0.1:0", place.folder), place.acceptor(), lmtp=True)
listener.start()
print(listener.address, flush=True)
sys.stdin.read()
"""


def test_whatever_was_answered_250_is_there_after_kill_9(place: Place) -> None:
    """E1: eight clients hand over as fast as they can, and the listener is killed at some moment."""
    answered: list[set[int]] = [set() for _ in range(8)]

    def hand_over(mine: set[int], start: int, address: str) -> None:
        try:
            with Client(address) as client:
                client.greet()
                for number in range(start, start + 10_000):
                    client.envelope().say(numbered(number) + b".\r\n")
                    if client.hear().startswith("250 "):
                        mine.add(number)
        except (ConnectionError, AssertionError):
            return

    with subprocess.Popen([sys.executable, "-c", _SERVER, place.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        address = process.stdout.readline().decode().strip()
        threads = [threading.Thread(target=hand_over, args=(mine, 10_000 * at, address)) for at, mine in enumerate(answered)]
        for thread in threads:
            thread.start()
        while min(map(len, answered)) < 20 and any(thread.is_alive() for thread in threads):
            threads[0].join(0.01)
        process.kill()
        for thread in threads:
            thread.join()
    mails = place.mails()
    assert len(mails) == len({*mails})
    assert {numbered(number) for mine in answered for number in mine} <= {*mails}
    assert sum(map(len, answered)) >= 160


def test_limits_can_be_changed_one_by_one() -> None:
    assert replace(Limits.of(1 << 30), recipients=5).in_hand == 4 << 30
