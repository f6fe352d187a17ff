"""The third stage: which handler a mail goes to, one delivery an address.

The address comes from the envelope, else from the topmost configured original-recipient header, else from To and Cc with a
warning; only the best source is used. From headers, addresses of no handler (friends in Cc) are left out unless none is handled;
from the envelope each address is a delivery.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from topology import ids
from topology.address import Address, parse, parse_list
from topology.ending import ended, sender_of, whole
from topology.facts import MAX_RECIPIENTS, Facts, Outcome, Route, Status, rfc3339
from topology.head import HeadReader
from topology.item import Decision, Failing, Item
from topology.records import Topics
from topology.step import LaterStep, MailGone, MailSource


@dataclass(frozen=True, slots=True)
class Destination:
    """What routing knows of a handler. domains: as compared; "*.example.org" is any below it, "*" any at all. patterns: on the whole
    local part as written, without case; none means every local part."""

    name: str
    domains: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...] = ()
    allow_unknown_senders: bool = False
    require_strong: bool = False


def compiled(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Patterns as `Destination` takes them: case makes no difference."""
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


class Match(NamedTuple):
    """An address and the handler that it goes to."""

    address: Address
    destination: Destination
    captures: dict[str, str]


class Addresses(NamedTuple):
    """Where the addresses came from, and what is to be said of that."""

    source: str
    found: Sequence[Address]
    warnings: tuple[str, ...] = ()


class Table:
    """The handlers by domain; the first whose pattern fits takes the address, in the order of the settings."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._by_domain: dict[str, list[Destination]] = {}
        for destination in destinations:
            for domain in destination.domains:
                self._by_domain.setdefault(domain, []).append(destination)
        self._candidates = lru_cache(maxsize=4096)(self._found)

    def match(self, address: Address) -> Match | None:
        """The handler of an address, or None. An exact domain goes before a wildcard, and a nearer one before a wider."""
        for destination in self._candidates(address.key_domain):
            if not destination.patterns:
                return Match(address, destination, {})
            for pattern in destination.patterns:
                if fit := pattern.fullmatch(address.local):
                    return Match(address, destination, _captures(fit))
        return None

    def _found(self, domain: str) -> list[Destination]:
        names = [domain]
        while "." in domain:
            domain = domain.partition(".")[2]
            names.append(f"*.{domain}")
        return [destination for name in (*names, "*") for destination in self._by_domain.get(name, ())]


def _captures(fit: re.Match[str]) -> dict[str, str]:
    numbered = {str(number): text for number, text in enumerate(fit.groups(), start=1) if text is not None}
    return numbered | {name: text for name, text in fit.groupdict().items() if text is not None}


@dataclass(slots=True)
class _Ending:
    """Deliveries that end here for one reason, as one record of mail.failures and one reply."""

    status: Status
    reason: str
    detail: str
    addresses: list[tuple[str, str | None]] = field(default_factory=list)


class Routing(LaterStep):
    """mail.authenticated -> mail.routed.<name>, or an outcome."""

    name = "routing"
    target = ""

    def __init__(
        self,
        topics: Topics,
        reader: HeadReader,
        mails: MailSource,
        table: Table,
        original_recipient_headers: Sequence[str],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(reader, mails)
        self.source = topics.authenticated
        self._table = table
        self._originals = [name.lower() for name in original_recipient_headers]
        self._clock = clock

    def prepare(self, items: Sequence[Item]) -> str:
        """When the batch is decided, RFC 3339."""
        return rfc3339(self._clock())

    def decide(self, item: Item, prepared: str) -> Decision:
        """One route or one outcome for each address that counts. Raises MailGone."""
        facts = item.facts
        if item.mail is None:  # a delivery without its mail would be an empty one to its handler
            raise MailGone(facts)
        addresses = self.addresses(item)
        if not addresses.found:
            return whole(facts, "rejected", "no-recipient", stage=self.name, at=prepared, warnings=addresses.warnings)
        matches = [(address, self._table.match(address)) for address in addresses.found]
        if facts.replay and facts.replay.recipients:
            matches = [(address, match) for address, match in matches if address.key in facts.replay.recipients]
            if not matches:  # other settings, or another release, read other addresses out of the mail
                detail = f"the replay is for {', '.join(facts.replay.recipients)}, and the mail names nobody of these now"
                return whole(facts, "rejected", "no-recipient", stage=self.name, at=prepared, detail=detail, warnings=addresses.warnings)
        if addresses.source != "envelope":
            handled: list[tuple[Address, Match | None]] = [(address, match) for address, match in matches if match]
            if len(handled) > MAX_RECIPIENTS:
                detail = f"over {MAX_RECIPIENTS} handled addresses in the header"
                return whole(facts, "rejected", "malformed", stage=self.name, at=prepared, detail=detail, warnings=addresses.warnings)
            if not handled:
                return self._nobody(facts, [address for address, _ in matches], addresses.warnings, prepared)
            matches = handled
        return self._deliver(facts, addresses, matches, prepared)

    def _nobody(self, facts: Facts, addresses: Sequence[Address], warnings: tuple[str, ...], at: str) -> Decision:
        """No address of the header is handled: one outcome for the mail, whose OOPS mail names the addresses."""
        names = tuple(address.key for address in addresses[:MAX_RECIPIENTS])
        detail = f"no handler for {', '.join(names)}"
        end = ended(facts, "failed", "no-handler", stage=self.name, at=at, detail=detail, recipients=names, warnings=warnings)
        return Decision(end, outcomes=(end,), failures=(Failing(end, sender_of(facts)),))

    def addresses(self, item: Item) -> Addresses:
        """The best source of addresses."""
        facts = item.facts
        assert facts.screening and item.mail is not None
        if facts.screening.recipients:
            found = [parse(recipient) for recipient in facts.screening.recipients]
            if readable := _each_once(address for address in found if address):
                return Addresses("envelope", readable)
        for name, value in item.head.fields:
            if name in self._originals and (found_there := parse_list(value)[0]):
                return Addresses(f"header:{name}", _each_once(found_there))
        named = [address for name in ("to", "cc") for found, _ in item.head.addresses(name) for address in found]
        warnings = ["no-original-recipient"]
        body = item.mail[item.head.body :].lower()
        if any(name.encode() in body for name in self._originals):
            warnings.append("original-recipient-in-body")
        return Addresses("to-cc", _each_once(named), tuple(warnings))

    def _deliver(self, facts: Facts, addresses: Addresses, matches: Sequence[tuple[Address, Match | None]], at: str) -> Decision:
        routes: list[Facts] = []
        endings: dict[tuple[str, str], _Ending] = {}
        for address, match in matches:
            word = self._word(facts, match)
            if word is None:
                assert match
                id_ = ids.delivery_id(facts.envelope.mail_id, address.key)
                written = f"{address.local}@{address.domain}"
                route = Route(id_, match.destination.name, address.key, written, addresses.source, match.captures, addresses.warnings)
                routes.append(facts.having(route=route))
            else:
                status, reason, detail = word
                ending = endings.setdefault((status, reason), _Ending(status, reason, detail))
                ending.addresses.append((address.key, match.destination.name if match else None))
        decision = Decision(facts, routes=routes)
        outcomes: list[Facts] = []
        failures: list[Failing] = []
        for ending in endings.values():
            ends = self._end(facts, ending, at, addresses.warnings)
            outcomes += ends
            if ending.status in ("returned", "failed"):
                failures.append(_joined(ends, sender_of(facts)))
        decision.outcomes, decision.failures = outcomes, failures
        return decision

    @staticmethod
    def _word(facts: Facts, match: Match | None) -> tuple[Status, str, str] | None:
        """Why a delivery ends here, or None. `no-handler` goes before `unknown-sender`."""
        if match is None:
            return "failed", "no-handler", "no handler for this address"
        strength = facts.authentication.strength if facts.authentication else "unknown"
        if strength == "unknown" and not match.destination.allow_unknown_senders:
            return "rejected", "unknown-sender", f"handler {match.destination.name} takes mail of accounts only"
        if strength != "strong" and match.destination.require_strong:
            return "returned", "strong-required", f"handler {match.destination.name} takes mail of proven senders only"
        return None

    def _end(self, facts: Facts, ending: _Ending, at: str, warnings: tuple[str, ...]) -> list[Facts]:
        mail_id = facts.envelope.mail_id
        keys = [key for key, _ in ending.addresses]
        group = ids.whole_id(mail_id, keys) if len(keys) > 1 else None
        return [
            ended(
                facts,
                ending.status,
                ending.reason,
                stage=self.name,
                at=at,
                delivery_id=ids.delivery_id(mail_id, key),
                recipient=key,
                handler=handler,
                detail=ending.detail,
                group=group,
                warnings=warnings,
            )
            for key, handler in ending.addresses
        ]


def _each_once(addresses: Iterable[Address]) -> list[Address]:
    """Addresses that compare as equal count once; the first as written stays."""
    found: dict[str, Address] = {}
    for address in addresses:
        found.setdefault(address.key, address)
    return list(found.values())


def _joined(ends: Sequence[Facts], to: str | None) -> Failing:
    """One record for mail.failures that names all the addresses of one decision."""
    first = ends[0].outcome
    assert first
    names = tuple(end.outcome.recipient for end in ends if end.outcome and end.outcome.recipient)
    return Failing(ends[0].having(outcome=_naming(first, names)), to)


def _naming(outcome: Outcome, recipients: tuple[str, ...]) -> Outcome:
    return replace(outcome, recipients=recipients)
