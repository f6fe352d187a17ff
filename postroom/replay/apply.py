"""Brings mails in again: a marker first, then each mail to the topic that the chosen stage reads, in the marker's generation.

mail.raw is never written: the mails stand there already. A mail that begins with the bounce filter is judged by its rules here, as the
filter would, and enters at mail.screened; what the rules end gets its outcome at once.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from postroom.reading import glance
from postroom.reading.pending import handlers
from postroom.replay.claim import Claim
from postroom.replay.entry import Plan, batches, first
from postroom.replay.marker import Marker, finish
from postroom.replay.selection import Chosen, Selection, place_of
from postroom.replay.steps import rescreening, source
from postroom.site import Site, now_ms
from streams.faults import Hold, Newer
from streams.record import Draft, Record
from streams.stage import Failure
from topology.chain import Chain
from topology.facts import Facts
from topology.records import FACTS, fact_draft, mail_draft

_CLOCKS = 60_000
"""Milliseconds by which the clocks of brokers may differ: what a replay wrote is looked for from so long before its marker."""


@dataclass
class Brought:
    """What an apply did. mails: brought in by this call; already_in: by an earlier one; gone: not to be had any more."""

    generation: int
    mails: int = 0
    already_in: int = 0
    gone: int = 0


class Pace:
    """Holds a stretch of work to so many a second; None: to nothing."""

    def __init__(
        self, rate: float | None, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.batch = None if rate is None else max(1, round(rate / 10))
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._begun, self._done = clock(), 0

    def keep(self, count: int) -> None:
        """So many more are done: waits until their time has passed."""
        self._done += count
        if self._rate is not None:
            self._sleep(max(0.0, self._begun + self._done / self._rate - self._clock()))


class Apply:
    """One replay, as its marker has it. claim: that it is ours to bring in."""

    def __init__(self, site: Site, marker: Marker, claim: Claim) -> None:
        self._site = site
        self._claim = claim
        self._source = source(site)
        self._screen = Chain([rescreening(site, site, site.reader, self._source)], site.topics, site.oopses, now_ms)
        self._limit = marker.limit
        self._plan = Plan(
            marker.start, frozenset(site.handler_names), marker.as_of == "now", claim.generation, replies=marker.replies, redo=marker.redo
        )

    def bring(self, chosen: Selection, inside: frozenset[int], pace: Pace, tick: Callable[[int], None]) -> Brought:
        """Appends a batch at a time, each whole or not at all. inside: the places of the mails that are in already, as seen since the
        claim. Raises LogError, Hold where the archive is away, and Superseded where the replay is ours no more; what is in then stays in.
        Writes in the end that the replay is finished."""
        done = Brought(self._plan.generation)
        for batch in batches(self._missing(chosen, inside, done), pace.batch):
            drafts: list[Draft] = []
            mails = self._source.of_facts([mail.latest for mail in batch])
            for mail, raw in zip(batch, mails, strict=True):
                if raw is None:
                    done.gone += 1
                else:
                    drafts += self._drafts(mail, raw)
                    done.mails += 1
            if drafts:
                self._claim.demand()
                self._site.log.append(drafts)
            tick(len(batch))
            pace.keep(len(batch))
        self._claim.demand()
        finish(self._site.log, self._site.topics, done.generation, {"mails": done.mails + done.already_in, "gone": done.gone})
        return done

    def _missing(self, chosen: Selection, inside: frozenset[int], done: Brought) -> Iterator[Chosen]:
        for mail in first(chosen.mails(), self._limit):
            if place_of(mail.raw) in inside:
                done.already_in += 1
            else:
                yield mail

    def _drafts(self, mail: Chosen, raw: bytes) -> list[Draft]:
        topics, stage = self._site.topics, self._plan.stage(mail)
        entering = self._plan.facts(mail, stage)
        value = raw if mail.latest.envelope.archived is None else b""
        if stage == "handler":
            return [_routed(self._site, facts, value) for facts in entering]
        (facts,) = entering
        key = (facts.envelope.sender or facts.envelope.mail_id).encode()
        if stage == "bounce-filter":
            record = Record(topics.raw, mail.raw.partition, mail.raw.offset, 0, key, value, ((FACTS, facts.encode()),))
            return self._screened(record)
        target, kind = (topics.screened, b"screened") if stage == "authentication" else (topics.authenticated, b"authenticated")
        id_ = f"{mail.raw.partition}-{mail.raw.offset}.{facts.generation}.{kind.decode()}"
        return [fact_draft(topics, target, kind, id_, key, facts, partition=mail.raw.partition)]

    def _screened(self, record: Record) -> list[Draft]:
        """The bounce filter's word on a mail, as its role would write it."""
        try:
            (result,) = self._screen.process([record])
        except (Hold, Newer):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the mail's
            return self._screen.failed(record, Failure("error", error))
        assert isinstance(result, list)
        return result


def _routed(site: Site, facts: Facts, value: bytes) -> Draft:
    route = facts.route
    assert route
    id_ = f"{route.delivery_id}.{facts.generation}"
    return mail_draft(site.topics, site.topics.routed(route.handler), b"routed", id_, route.recipient, facts, value)


def brought_in(site: Site, marker: Marker, generation: int) -> frozenset[int]:
    """The places of the mails that are in a generation already, by what the log has of it."""
    log, topics = site.log, site.topics
    there = log.topics()
    first_stages = [topics.screened, topics.authenticated, topics.outcomes]
    found = set()
    for topic in (*first_stages, *map(topics.routed, handlers(topics, there))):
        for record in log.read(topic, since=marker.at_ms - _CLOCKS) if topic in there else ():
            data = glance.facts_bytes(record)
            if data and glance.generation(data) == generation and (raw := glance.raw_position(data)):
                found.add(place_of(raw))
    return frozenset(found)
