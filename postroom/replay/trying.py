"""Asks handlers for their preview of mails, those that offer one (`handlers.preview`)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from handlers.batch import Batch
from handlers.python import PythonHandler
from handlers.registry import HandlerSettingsError
from handlers.word import Word
from postroom.site import Site
from streams.record import Record
from topology.facts import Facts
from topology.ports import Archive

log = logging.getLogger("postroom")


class Trying:
    """The previews of an installation's handlers, each looked for when the first mail comes to it. site: whose settings and code."""

    def __init__(self, site: Site, archive: Archive) -> None:
        self._site = site
        self._archive = archive
        self._handlers: dict[str, PythonHandler | None] = {}

    def words(self, deliveries: Sequence[tuple[Facts, bytes]]) -> list[Word | None]:
        """What the handlers would say, of each delivery (routed facts, and the mail); None where one is not called. Raises Hold where a
        handler's database is away, Newer."""
        by_handler: dict[str, list[int]] = {}
        for place, (facts, _) in enumerate(deliveries):
            assert facts.route
            by_handler.setdefault(facts.route.handler, []).append(place)
        found: list[Word | None] = [None] * len(deliveries)
        for name, places in by_handler.items():
            handler = self._handler(name)
            if handler is not None:
                said = self._said(handler, [deliveries[place] for place in places])
                for number, place in enumerate(places):
                    found[place] = said[number]
        return found

    def close(self) -> None:
        """Ends the handlers' threads and connections."""
        for handler in self._handlers.values():
            if handler is not None:
                handler.close()

    def _handler(self, name: str) -> PythonHandler | None:
        if name not in self._handlers:
            self._handlers[name] = self._built(name)
        return self._handlers[name]

    def _built(self, name: str) -> PythonHandler | None:
        from handlers.preview import build_preview  # psycopg2 loads only where it is used
        from postroom.roles import spec

        settings = self._site.settings.handlers.get(name)
        try:
            return build_preview(spec(name, settings), self._site.config.folder) if settings else None
        except HandlerSettingsError as error:
            log.warning("%s; so it is not asked for a preview", error)
            return None

    def _said(self, handler: PythonHandler, deliveries: Sequence[tuple[Facts, bytes]]) -> Mapping[int, Word]:
        # The bytes are at hand; and each has a key of its own, as nobody waits for anybody here.
        records = [Record("", 0, place, 0, b"%d" % place, raw) for place, (_, raw) in enumerate(deliveries)]
        facts = [facts.having(envelope=replace(facts.envelope, archived=None)) for facts, _ in deliveries]
        batch = Batch(records, facts, self._archive, range(len(records)), lambda _place, _word: True)
        handler.handle(batch)
        return batch.words
