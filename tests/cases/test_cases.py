"""Every case of this folder: the fact that comes of it, and that its evidence alone gives it again."""

import io
import json
import re
import shutil
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from handlers.mail import Mail
from postroom.ingest.reading import read_mail
from postroom.site import Site
from streams.record import Record
from tests.acceptance.place import Place
from tests.cases import make_cases
from tests.cases.case import FILES, Case, Fact, read
from tests.openpgp.conftest import KEYS, need_gpg
from topology.authentication import AuthenticationStep
from topology.evidence import evidence_of
from topology.facts import Facts, Replay, Route, to_ms
from topology.item import Item
from topology.openpgp import Keyring
from topology.step import MailSource, Step

NAMES = sorted(path.stem for path in FILES.glob("*.eml"))
HANDLERS = {
    "foo": {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True},
    "vault": {"use": "maildir", "path": "vault/", "domains": ["vault.example"], "require_strong": True},
}
BY_GNUPG = {"s1-legacy", "s1-legacy-strong", "s1-legacy-refused", "s5-ahead"}


class Untouchable:
    """A directory and a resolver that nobody may ask."""

    def lookup(self, addresses: Collection[str]) -> Any:
        raise AssertionError(f"the directory was asked about {addresses}")

    def txt(self, names: Collection[str]) -> Any:
        raise AssertionError(f"DNS was asked about {names}")


@pytest.fixture(scope="module")
def fingerprints() -> Mapping[str, str]:
    return {path.stem: next(iter(Keyring.of([(path.stem, path.read_bytes())]).fingerprints())) for path in KEYS.glob("*.asc")}


def installed(case: Case, folder: Path, fingerprints: Mapping[str, str]) -> Site:
    """The installation of the case."""
    accounts = [{**one, "fingerprints": [fingerprints[name] for name in one.get("fingerprints", [])]} for one in case.accounts]
    place = Place(folder, "sqlite:///postroom.db", handlers=HANDLERS, accounts=accounts, sections=case.settings)
    place.write("zone.json", json.dumps(dict(case.zone)))
    for name in case.keys:
        shutil.copy(KEYS / f"{name}.asc", folder / "keys")
    site = Site.at(folder / "postroom.toml")
    site.ensure_topics()
    return site


def arrived(site: Site, case: Case) -> Record:
    """The mail as it stands on mail.raw."""
    kept = read_mail(io.BytesIO(case.mail), site.acceptor.max_size)
    how: dict[str, Any] = {"sender": "someone@mail.example", "via": "lmtp", "received_ms": to_ms(case.received_at)}
    site.acceptor.accept(site.acceptor.arrivals(kept, recipients=tuple(case.recipients), **how))
    (record,) = site.log.read(site.topics.raw)
    return record


def decided(steps: list[Step], item: Item) -> Facts:
    """The facts at the end of the last step that the mail reaches."""
    for step in steps:
        decision = step.decide(item, step.prepare([item]))
        if not decision.onward:
            return as_read(decision.routes[0] if decision.routes else decision.outcomes[0])
        item.facts = decision.facts
    return as_read(item.facts)


def as_read(facts: Facts) -> Facts:
    """The facts, of which a handler beside the chain gets what was made, and one elsewhere what it reads: that must be the same."""
    read_again = Facts.decode(facts.encode())
    assert read_again == facts
    return read_again


def found(facts: Facts, mail: bytes, expected: Fact) -> Fact:
    """The facts as a case tells them."""
    told, outcome = facts.authentication, facts.outcome
    ends = f"{outcome.status} {outcome.reason}" if outcome else "routed"
    if told is None:
        return Fact("unknown", sender=None, ends=ends)
    reason = expected.reason if expected.reason and expected.reason in (told.reason or "") else told.reason or ""
    if told.strength == "strong":
        assert told.reason is None
    read_as = facts if facts.route else facts.having(route=Route("d", "foo", "a@foo.com", "a@foo.com", "envelope"))
    text = Mail(read_as, mail).signed_text if expected.text is not None or outcome is None else None
    return Fact(told.strength, told.account, told.sender, told.method, reason if expected.reason else "", ends, text)


@pytest.mark.parametrize("name", NAMES)
def test_the_case_gives_its_fact_and_its_evidence_gives_it_again(name: str, tmp_path: Path, fingerprints: Mapping[str, str]) -> None:
    if name in BY_GNUPG:
        need_gpg()
    case = read(name)
    with closing(installed(case, tmp_path, fingerprints)) as site:
        record = arrived(site, case)
        steps = site.steps()
        steps[0].assigned(frozenset(range(8)))
        (item,) = steps[0].load([record])
        facts = decided(steps, item)
        assert found(facts, case.mail, case.fact) == case.fact
        if facts.authentication is None:
            return
        for evidence in (evidence_of(facts), None):  # as of then, and as of now in a world that is the same
            again = facts.having(authentication=None, outcome=None, route=None, replay=Replay(1, evidence=evidence))
            assert authenticated_again(site, item, again) == facts.authentication


def authenticated_again(site: Site, item: Item, facts: Facts) -> Any:
    """What authentication says of a mail that a replay brings; only where there is nothing on record may the world be asked."""
    out_of_reach = Untouchable() if facts.replay and facts.replay.evidence else None
    step = AuthenticationStep(
        site.topics,
        site.reader,
        MailSource(site.log, site.archive),
        out_of_reach or site.directory,
        out_of_reach or site.resolver,
        site.keyring,
        site.policy(),
        lambda: 0,
    )
    mail = Item(item.record, facts, item.mail, site.reader)
    return step.decide(mail, step.prepare([mail])).facts.authentication


def test_the_files_are_what_make_cases_writes() -> None:
    for case in make_cases.ALL:
        assert read(case.name) == case, case.name


def test_every_row_has_a_case_and_every_case_says_what_it_proves() -> None:
    rows = {read(name).row for name in NAMES}
    assert rows == {f"S{number}" for number in range(1, 17)} | {"forgery"}
    for name in NAMES:
        assert len(re.findall(r"[.:](?= |$)", read(name).proves)) >= 2, name
