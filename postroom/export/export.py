"""Writes the mails behind selected outcomes, each once, oldest outcome first."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from postroom.batching import batches
from postroom.erasing.redact import GONE
from postroom.erasing.tombstone import tombstones
from postroom.export.targets import Target
from postroom.reading.outcomes import Outcomes
from postroom.reading.selectors import Filter
from streams.log import Reader
from streams.record import Position
from topology.facts import Facts
from topology.records import Topics
from topology.step import MailSource

_STEP, _STEP_OCTETS = 100, 32 << 20


@dataclass
class Exported:
    """mails, octets: written. erased, gone: mail ids of those whose bytes were erased, and of those that log or archive no longer have.
    existing: of those whose file was there before. truncated: how many were too large when they came, so that only a beginning was kept."""

    mails: int = 0
    octets: int = 0
    truncated: int = 0
    erased: dict[str, None] = field(default_factory=dict)
    gone: dict[str, None] = field(default_factory=dict)
    existing: dict[str, None] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether every selected mail was written."""
        return not (self.erased or self.gone or self.existing)


class Export:
    """The selected mails. count: how many there are. Memory: 100 bytes a mail, and a hundred mails. Raises Newer, Transient."""

    def __init__(self, log: Reader, topics: Topics, source: MailSource, wanted: Filter) -> None:
        self._outcomes = Outcomes(log, topics)
        self._source = source
        self._wanted = wanted
        self._erased = frozenset(raw for raw, _ in tombstones(log, topics))
        self.count = len({found.row["mail_id"] for found in self._outcomes.found(wanted)})

    def write(self, to: Target, tick: Callable[[int], None]) -> Exported:
        """Writes them. tick: told how many more are done. Raises OSError, LogError, and Hold where the archive is away."""
        done = Exported()
        written: set[str] = set()
        for batch in self._batches(written):
            for facts, mail in zip(batch, self._source.of_facts(batch), strict=True):
                envelope = facts.envelope
                if facts.raw in self._erased or (envelope.archived or "").startswith(GONE):
                    done.erased[envelope.mail_id] = None
                    written.discard(envelope.mail_id)  # it may have come again since
                elif mail is None:
                    done.gone[envelope.mail_id] = None
                elif not to.write(envelope, mail):
                    done.existing[envelope.mail_id] = None
                else:
                    done.mails += 1
                    done.octets += len(mail)
                    done.truncated += envelope.truncated
            tick(len(batch))
        done.erased = dict.fromkeys(mail for mail in done.erased if mail not in written)
        return done

    def _batches(self, seen: set[str]) -> Iterator[list[Facts]]:
        for batch in batches(self._each_once(seen), _STEP, _STEP_OCTETS, lambda facts: facts.envelope.size):
            yield sorted(batch, key=_place)

    def _each_once(self, seen: set[str]) -> Iterator[Facts]:
        for found in self._outcomes.found(self._wanted):
            facts = Facts.decode(found.record.value)
            if facts.envelope.mail_id not in seen:
                seen.add(facts.envelope.mail_id)
                yield facts


def _place(facts: Facts) -> Position:
    """In this order the log gives them cheaply."""
    return facts.raw or Position("", "", 0, 0)
