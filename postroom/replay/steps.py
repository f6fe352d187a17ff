"""The stages as a replay runs them: on this log, by these settings or by others that are tried."""

from postroom.site import Site, now_ms
from topology.authentication import AuthenticationStep
from topology.head import HeadReader
from topology.repeats import Past, Repeats
from topology.rescreening import Rescreening
from topology.routing import Routing
from topology.screening import Screen
from topology.step import MailSource, Step


def source(site: Site) -> MailSource:
    """Brings the mails of this log."""
    return MailSource(site.log, site.archive)


def steps(site: Site, judge: Site) -> list[Step]:
    """Bounce filter, authentication and routing. site: whose log and archive; judge: whose settings, accounts, keys and DNS."""
    reader, mails = judge.reader, source(site)
    originals = judge.settings.routing.original_recipient_headers
    return [
        rescreening(site, judge, reader, mails),
        AuthenticationStep(site.topics, reader, mails, judge.directory, judge.resolver, judge.keyring, judge.policy(), now_ms),
        Routing(site.topics, reader, mails, judge.table(), originals, now_ms),
    ]


def rescreening(site: Site, judge: Site, reader: HeadReader, mails: MailSource) -> Rescreening:
    """The bounce filter alone."""
    rules = judge.settings.bounce_filter
    nothing = Repeats(0, lambda *_: Past(0, ()))
    return Rescreening(site.topics, site.log.id, reader, mails, Screen(rules.rules, rules.max_received), nothing, now_ms)
