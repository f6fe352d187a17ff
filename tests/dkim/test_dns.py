"""Looking TXT records up, against a real name server on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postroom.dns import KEEP_AT_LEAST, KEEP_AT_MOST, KEEP_ERROR, SIDE_BY_SIDE, DnsResolver
from postroom.zone import ZoneError, ZoneResolver
from streams.faults import Hold
from tests.dkim.nameserver import SILENT, NameServer, running
from tests.dkim.signer import record
from topology.answers import Answer
from topology.ports import Resolver


class Clock:
    """Seconds that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> Iterator[NameServer]:
    table: dict[str, list[str] | str] = {
        "a.example": ["v=DKIM1; p=a"],
        "two.example": ["second", "first"],
        "long.example": [record("rsa-2048") + "; n=" + "x" * 1400],
        "empty.example": [],
        "broken.example": "SERVFAIL",
        "refused.example": "REFUSED",
        "dead.example": SILENT,
        ".": [],
    }
    with running(NameServer(table)) as one:
        yield one


def resolver(server: NameServer, clock: Clock | None = None, lifetime: float = 1.0) -> DnsResolver:
    return DnsResolver(["127.0.0.1"], server.port, lifetime, clock or Clock())


def test_records_are_found_absent_or_not_to_be_had(server: NameServer) -> None:
    names = [
        "a.example",
        "two.example",
        "long.example",
        "empty.example",
        "none.example",
        "broken.example",
        "refused.example",
        "dead.example",
    ]
    found = resolver(server).txt(names)
    assert list(found) == names
    assert {name: found[name].status for name in names} == {
        "a.example": "found", "two.example": "found", "long.example": "found", "empty.example": "none", "none.example": "none",
        "broken.example": "temperror", "refused.example": "temperror", "dead.example": "temperror",
    }  # fmt: skip
    assert found["two.example"].texts == ("first", "second")
    assert found["a.example"].ttl == 600
    assert "SERVFAIL" in found["broken.example"].why


def test_a_record_that_does_not_fit_a_datagram_is_fetched_by_tcp(server: NameServer) -> None:
    """And its strings are joined without blanks."""
    assert resolver(server).txt(["long.example"])["long.example"].texts[0].startswith(record("rsa-2048"))
    assert server.asked["long.example"] == 2


def test_a_dead_name_is_asked_for_again_before_it_is_given_up(server: NameServer) -> None:
    resolver(server, lifetime=2.0).txt(["dead.example", "broken.example", "a.example"])
    assert server.asked["dead.example"] >= 2
    assert server.asked["broken.example"] == 2


def test_answers_are_kept_for_their_ttl_and_no_longer(server: NameServer) -> None:
    clock = Clock()
    asking = resolver(server, clock)
    for clock.now in (0.0, 599.0):
        asking.txt(["a.example", "none.example"])
        assert server.asked == {"a.example": 1, "none.example": 1}
    clock.now = 601.0
    asking.txt(["a.example"])
    assert server.asked["a.example"] == 2


@pytest.mark.parametrize(("ttl", "kept"), [(0, KEEP_AT_LEAST), (10**6, KEEP_AT_MOST)])
def test_a_ttl_is_taken_within_bounds(server: NameServer, ttl: int, kept: int) -> None:
    server.ttl = ttl
    found = resolver(server).txt(["a.example", "none.example"])
    assert {answer.ttl for answer in found.values()} == {kept}


def test_a_temporary_error_is_kept_a_short_while(server: NameServer) -> None:
    clock = Clock()
    asking = resolver(server, clock)
    asking.txt(["broken.example"])
    times = server.asked["broken.example"]
    asking.txt(["broken.example"])
    assert server.asked["broken.example"] == times
    server.table = {"broken.example": ["v=DKIM1; p="]}
    clock.now = KEEP_ERROR + 1.0
    assert asking.txt(["broken.example"])["broken.example"].status == "found"


def test_one_dead_name_on_its_own_is_a_temporary_error_while_a_name_server_speaks(server: NameServer) -> None:
    assert resolver(server).txt(["dead.example"])["dead.example"].status == "temperror"
    assert server.asked["."] >= 1


def test_all_of_dns_away_holds_the_role_and_goes_on_when_it_is_back(server: NameServer) -> None:
    asking = resolver(server)
    table, server.table = server.table, dict.fromkeys((*server.table, "none.example"), SILENT)
    with pytest.raises(Hold) as held:
        asking.txt(["a.example", "none.example"])
    assert held.value.part == "dns"
    assert "127.0.0.1" in str(held.value)
    server.table = table
    assert asking.txt(["a.example", "none.example"])["a.example"].status == "found"


def test_a_port_where_nobody_listens_holds_the_role() -> None:
    with running(NameServer({})) as gone:
        port = gone.port
    with pytest.raises(Hold):
        DnsResolver(["127.0.0.1"], port, 0.5).txt(["a.example"])


def test_a_batch_of_hundreds_is_asked_side_by_side(server: NameServer) -> None:
    """One after the other, the dead names would take five minutes; and they leave time enough for the others."""
    dead = SIDE_BY_SIDE + 5
    server.table = {f"{number}.example": SILENT if number < dead else ["x"] for number in range(dead + 20)}
    found = resolver(server).txt(list(server.table))
    assert [found[name].status for name in server.table] == ["temperror"] * dead + ["found"] * 20


def test_a_cached_name_needs_no_name_server(server: NameServer) -> None:
    asking = resolver(server)
    asking.txt(["a.example"])
    server.table = {}
    assert asking.txt(["a.example"])["a.example"].texts == ("v=DKIM1; p=a",)
    assert asking.txt([]) == {}


# The zone file.


def zone(folder: Path, text: str) -> ZoneResolver:
    (folder / "zone.json").write_text(text)
    return ZoneResolver(folder / "zone.json")


def test_a_zone_file_answers_as_its_values_say(tmp_path: Path) -> None:
    table = {
        "A.example": "text",
        "b.example": ["two", "one"],
        "c.example": "TEMPERROR",
        "d.example": "PERMERROR",
        "bücher.example": "idn",
        "e.example": [],
    }
    asking: Resolver = zone(tmp_path, json.dumps(table))
    names = ["a.example", "b.example", "c.example", "d.example", "xn--bcher-kva.example", "e.example", "f.example"]
    found = asking.txt(names)
    assert [found[name].status for name in names] == ["found", "found", "temperror", "permerror", "found", "none", "none"]
    assert found["b.example"].texts == ("one", "two")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "must be one object"),
        ('"text"', "must be one object"),
        ('{"a..example": "x"}', "'a..example' is no domain name"),
        ('{"a.example": 1}', "'a.example' must be a TXT record"),
        ('{"a.example": [1]}', "'a.example' must be a TXT record"),
        ('{"a.example": {"b": "c"}}', "'a.example' must be a TXT record"),
        ('{"a.example": "x", "A.EXAMPLE.": "y"}', "'A.EXAMPLE.' stands twice"),
    ],
)
def test_a_faulty_zone_file_is_refused_with_the_entry_at_fault(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ZoneError, match=r"zone\.json") as refused:
        zone(tmp_path, text)
    assert words in str(refused.value)


def test_a_missing_zone_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ZoneError, match=r"nowhere\.json: cannot be read"):
        ZoneResolver(tmp_path / "nowhere.json")


# Answers as evidence.


@pytest.mark.parametrize(
    "answer",
    [
        Answer.of(["v=DKIM1; p="]),
        Answer.of(["b", "a"]),
        Answer.of(["TEMPERROR"]),
        Answer.of(["PERMERROR: in a record"]),
        Answer.of([b"\xff"]),
        Answer.of([]),
        Answer.of(["a" * 3000]),
        Answer.of(["a"] * 9),
        Answer("temperror", why="no time was left: none"),
        Answer("permerror", why="LabelTooLong"),
    ],
)
def test_an_answer_comes_back_from_its_evidence(answer: Answer) -> None:
    assert Answer.from_evidence(json.loads(json.dumps(answer.evidence()))) == answer
