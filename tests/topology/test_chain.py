"""The chain on a real log: what each step writes, and what is left when one of them fails."""

import json
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from postroom.ingest.reading import Kept
from postroom.roles import Roles
from postroom.running import Supervisor
from postroom.site import Site, now_ms
from streams.record import Draft
from streams.runner import Runner
from streams.stage import Result
from tests.acceptance.conftest import SAMPLE
from tests.acceptance.place import Place
from topology.chain import WRITTEN
from topology.facts import Facts
from topology.head import HeadReader
from topology.records import FACTS, Document, facts_of
from topology.step import FETCHED

MAIL = (
    b"From: Sample Person <test@canonical.com>\nTo: 1@foo.com\nMessage-ID: <%s@x>\n"
    b"Received: by x; Mon, 2 Mar 2026 10:00:00 +0000\n\nhello\n"
)

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, accounts=[SAMPLE])
    opened = Site.at(place.folder / "postroom.toml")
    opened.ensure_topics()
    yield opened
    opened.close()


def drain(site: Site, *roles: str) -> None:
    runners = Roles(site, roles or ("chain",), drain=True).runners()
    assert Supervisor(site.log, runners).drain(10, lambda _left: None) is None


def append(site: Site, *values: bytes, key: bytes | None = None) -> None:
    site.log.append([Draft(site.topics.raw, key, value) for value in values])


def hand_over(site: Site, recipients: Sequence[str], raw: bytes = MAIL % b"1") -> None:
    """A mail for these recipients, as by LMTP; the same one unless told another."""
    kept = Kept(raw, len(raw), sha256(raw).hexdigest(), False)
    site.acceptor.accept(site.acceptor.arrivals(kept, sender="a@b.org", recipients=recipients, via="lmtp", received_ms=1))


def documents(site: Site, topic: str) -> list[dict[str, Any]]:
    return [json.loads(facts_of(record).encode()) for record in site.log.read(topic)]


def test_bare_bytes_are_a_mail_with_the_envelope_that_the_mail_tells(site: Site) -> None:
    append(site, b"Return-Path: <A@B.org>\n" + MAIL % b"1")
    drain(site)
    (facts,) = documents(site, site.topics.routed("foo"))
    assert facts["envelope"]["via"] == "foreign"
    assert facts["envelope"]["sender"] == "a@b.org"
    assert facts["envelope"]["received_at"] == "2026-03-02T10:00:00.000Z"


def test_every_topic_is_written_and_what_went_on_is_marked_as_carried(site: Site) -> None:
    append(site, MAIL % b"1", b"Precedence: bulk\n" + MAIL % b"2")
    drain(site)
    screened = list(site.log.read(site.topics.screened))
    assert [record.carried for record in screened] == [True, True]
    assert len(list(site.log.read(site.topics.authenticated))) == 1
    (outcome,) = documents(site, site.topics.outcomes)
    assert outcome["outcome"]["reason"] == "precedence"


def test_stages_on_their_own_say_the_same_as_the_chain(site: Site) -> None:
    append(site, *(MAIL % b"%d" % number for number in range(20)))
    for role in ("bounce-filter", "authentication", "routing"):
        drain(site, role)
    assert [record.carried for record in site.log.read(site.topics.screened)] == [False] * 20
    alone = {facts["envelope"]["mail_id"]: facts["route"] for facts in documents(site, site.topics.routed("foo"))}
    assert len(alone) == 20
    append(site, *(MAIL % b"again.%d" % number for number in range(5)))
    drain(site)
    assert len(documents(site, site.topics.routed("foo"))) == 25


def test_a_record_from_outside_in_the_middle_of_the_chain_is_processed_too(site: Site) -> None:
    append(site, MAIL % b"1")
    drain(site, "bounce-filter")
    (screened,) = site.log.read(site.topics.screened)
    drain(site)
    site.log.append([Draft(screened.topic, screened.key, screened.value, screened.headers)])
    drain(site)
    assert len(documents(site, site.topics.routed("foo"))) == 2


@pytest.mark.parametrize("junk", [b"", b"{}", b"not json", b'{"envelope": {"mail_id": 1}}', b"\xff"])
def test_junk_between_the_stages_ends_as_a_failure_and_the_partition_goes_on(site: Site, junk: bytes) -> None:
    for topic in (site.topics.screened, site.topics.authenticated):
        site.log.append([Draft(topic, b"k", junk, partition=0)])
    append(site, *(MAIL % b"%d" % number for number in range(8)))
    drain(site)
    reasons = [facts["outcome"]["reason"] for facts in documents(site, site.topics.outcomes)]
    assert reasons == ["stage-error", "stage-error"]
    assert len(documents(site, site.topics.routed("foo"))) == 8


def breaking(step: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Makes one step raise on mails whose id is unlucky."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        from topology import authentication, bounce_filter, routing

        kind: Any = {
            "bounce-filter": bounce_filter.BounceFilter,
            "authentication": authentication.AuthenticationStep,
            "routing": routing.Routing,
        }[step]
        decide = kind.decide

        def raising(self: Any, item: Any, prepared: Any) -> Any:
            if "unlucky" in (item.head.first("message-id") or ""):
                raise ValueError("cannot")
            return decide(self, item, prepared)

        monkeypatch.setattr(kind, "decide", raising)

    return patch


@pytest.mark.parametrize("step", ["bounce-filter", "authentication", "routing"])
def test_a_step_that_raises_on_a_mail_fails_that_mail_with_the_facts_so_far(site: Site, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    breaking(step)(monkeypatch)
    append(site, MAIL % b"1", MAIL % b"unlucky", MAIL % b"3")
    drain(site)
    (facts,) = documents(site, site.topics.outcomes)
    assert (facts["outcome"]["status"], facts["outcome"]["reason"], facts["outcome"]["stage"]) == ("failed", "stage-error", step)
    assert ("authentication" in facts) == (step == "routing")
    assert len(documents(site, site.topics.routed("foo"))) == 2
    assert len(list(site.log.read(site.topics.screened))) == 3
    (failure,) = site.log.read(site.topics.failures)
    assert failure.value == MAIL % b"unlucky"
    assert site.oopses.read(facts["outcome"]["oops_id"])


def test_a_hand_over_again_of_some_recipients_goes_on_for_the_new_ones_only(site: Site) -> None:
    for recipients in (("1@foo.com", "2@foo.com"), ("2@FOO.com", "3@foo.com"), ("3@foo.com",)):
        hand_over(site, recipients)
        drain(site)  # a new worker each time: what is known comes from the log
    assert sorted(facts["route"]["recipient"] for facts in documents(site, site.topics.routed("foo"))) == [
        "1@foo.com",
        "2@foo.com",
        "3@foo.com",
    ]
    repeated = [facts["repeated"]["recipients"] for facts in documents(site, site.topics.outcomes)]
    assert repeated == [["2@FOO.com"], ["3@foo.com"]]


def test_a_hand_over_again_is_known_however_late_it_is_processed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is one of mail.raw, so an outage that is longer than it makes nobody call a handler twice."""
    for recipients in (("1@foo.com",), ("1@foo.com", "2@foo.com")):
        hand_over(site, recipients)
        drain(site)
        monkeypatch.setattr("postroom.site.now_ms", lambda: now_ms() + 3 * 86_400_000)
    assert sorted(facts["route"]["recipient"] for facts in documents(site, site.topics.routed("foo"))) == ["1@foo.com", "2@foo.com"]


def test_the_head_is_read_once_a_mail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[bytes] = []
    read = HeadReader.read
    append(site, *(MAIL % b"%d" % number for number in range(10)), key=b"k")
    runners = Roles(site, ["chain"], drain=True).runners()

    def counted(self: HeadReader, raw: bytes) -> Any:
        reads.append(raw)
        return read(self, raw)

    monkeypatch.setattr(HeadReader, "read", counted)
    Supervisor(site.log, runners).drain(10, lambda _left: None)
    assert len(reads) == 20  # once for the foreign envelope, once for the three stages


def test_mails_to_many_are_written_in_batches_that_a_transaction_takes(site: Site) -> None:
    """Routing writes a mail once for each recipient. Of three whose copies are 30 MB each, one is written at a time."""
    to = b", ".join(b"%d@foo.com" % number for number in range(100))
    for number in range(3):
        append(site, (MAIL % b"%d" % number).replace(b"1@foo.com", to) + b"x" * 300_000)
    chain, *_ = (runner for runner in Roles(site, ["chain"], drain=True).runners() if isinstance(runner, Runner))
    chain.stage.assigned(frozenset(range(8)))
    assert len(chain.stage.process(list(site.log.read(site.topics.raw)))) == 1
    drain(site)
    found = documents(site, site.topics.routed("foo"))
    assert len(found) == 300
    assert len({facts["route"]["delivery_id"] for facts in found}) == 300


def test_archived_mails_to_many_are_bounded_by_their_facts(tmp_path: Path) -> None:
    """Nothing of them is in the record but what is known of them, which is written once for each recipient as well."""
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, accounts=[SAMPLE], sections={"archive": {"inline_limit": 0}})
    site = Site.at(place.folder / "postroom.toml")
    site.ensure_topics()
    recipients = tuple(f"{number}@foo.com" for number in range(100))
    for number in range(60):
        hand_over(site, recipients, MAIL % b"%d" % number)
    chain, *_ = (runner for runner in Roles(site, ["chain"], drain=True).runners() if isinstance(runner, Runner))
    chain.stage.assigned(frozenset(range(8)))
    results = chain.stage.process(list(site.log.read(site.topics.raw)))
    assert 10 < len(results) < 60
    drafts = [draft for result in results if isinstance(result, list) for draft in result]
    assert sum(len(draft.value) + sum(len(value) for _, value in draft.headers) for draft in drafts) < 2 * WRITTEN
    site.close()


@pytest.mark.parametrize(("inline_limit", "role"), [(0, "bounce-filter"), (0, "authentication"), (16 << 20, "authentication")])
def test_large_mails_are_fetched_some_at_a_time(tmp_path: Path, inline_limit: int, role: str) -> None:
    """From the archive, or by a stage of its own from mail.raw: a batch of them would fill the memory."""
    sections = {"archive": {"inline_limit": inline_limit}}
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO}, accounts=[SAMPLE], sections=sections)
    site = Site.at(place.folder / "postroom.toml")
    site.ensure_topics()
    for number in range(10):
        hand_over(site, ["1@foo.com"], MAIL % b"%d" % number + bytes(8 << 20))
    if role == "authentication":
        drain(site, "bounce-filter")
    (runner,) = (one for one in Roles(site, [role], drain=True).runners() if isinstance(one, Runner))
    runner.stage.assigned(frozenset(range(8)))
    records = list(site.log.read(runner.topics[0]))
    tracemalloc.start()
    try:
        assert 0 < len(runner.stage.process(records)) < 10
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * FETCHED
    drain(site, role)
    assert len(list(site.log.read(site.topics.screened if role == "bounce-filter" else site.topics.authenticated))) == 10
    site.close()


def test_a_batch_longer_than_the_window_is_judged_in_halves_as_it_was_whole(site: Site) -> None:
    """A mail that raises has the others of its batch judged once more, when later ones have been noted."""
    hour = 3_600_000
    hand_over(site, ["1@foo.com"])
    hand_over(site, ["1@foo.com", "2@foo.com"])
    hand_over(site, ["1@foo.com"], MAIL % b"2")
    came = [1_000 * hour, 1_020 * hour, 1_040 * hour]
    records = sorted(site.log.read(site.topics.raw), key=attrgetter("offset"))
    records = [
        record._replace(partition=0, offset=place, time=time) for place, (record, time) in enumerate(zip(records, came, strict=True))
    ]
    (runner,) = (one for one in Roles(site, ["bounce-filter"], drain=True).runners() if isinstance(one, Runner))
    runner.stage.assigned(frozenset(range(8)))
    whole = kinds(runner.stage.process(records))
    assert whole == [["screened"], ["screened", "repeated"], ["screened"]]
    assert kinds(runner.stage.process(records[:2])) + kinds(runner.stage.process(records[2:])) == whole


def kinds(results: Sequence[Result]) -> list[list[str]]:
    """What kinds of records each result has."""
    return [
        [dict(draft.headers)["ce_type"].decode().removeprefix("postroom.") for draft in result]
        for result in results
        if isinstance(result, list)
    ]


@pytest.mark.parametrize("folder", ["corpus", "cases"])
def test_what_the_process_remembers_of_a_record_is_what_stands_in_it(site: Site, folder: str) -> None:
    """A handler beside the chain gets the facts that the chain made, and one in another process those that it reads."""
    append(site, *(path.read_bytes() for path in sorted((Path(__file__).parent.parent / folder).rglob("*.eml"))))
    drafts: list[Draft] = []
    chain, *_ = (runner for runner in Roles(site, ["chain"], drain=True).runners() if isinstance(runner, Runner))
    for record in site.log.read(site.topics.raw):
        drafts += [draft for result in chain.stage.process([record]) if isinstance(result, list) for draft in result]
    written = [header for draft in drafts for name, header in draft.headers if name == FACTS]
    documents = [header for header in written if isinstance(header, Document)]
    assert len(documents) == len(written) > 50
    for document in documents:
        assert document.facts == Facts.decode(bytes(document))
