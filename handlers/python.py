"""Handlers written in Python: `def handle(mail)` in watched threads, `async def handle(mail)` on an event loop of its own."""

import asyncio
from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from handlers.batch import Batch, Handler
from handlers.coroutines import LoopCrew
from handlers.fingerprint import code_file
from handlers.forks import awaited_here, called_here
from handlers.interface import Function
from handlers.mail import Mail, idempotency_key
from handlers.timing import Call, Crew, overran
from handlers.word import Word, of_raise, of_return
from topology.facts import Facts

if TYPE_CHECKING:
    from handlers.database import Effects, Session


def is_async(function: object) -> bool:
    """Whether a handler is a coroutine function, or an object whose call is one."""
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(type(function), "__call__"))  # noqa: B004, B009


class PythonHandler(Handler):
    """Calls a function. limit: seconds for one delivery. concurrency: deliveries at once, those of one recipient in order; more than
    1 calls a plain function from several threads. effects: the database that `mail.db` leads to, or None. In a coroutine function SQL
    on mail.db blocks its loop for as long as it takes."""

    def __init__(
        self, name: str, function: Function, *, limit: float = 60.0, concurrency: int = 1, effects: "Effects | None" = None
    ) -> None:
        self.name = name
        self._function: Callable[[Mail], Any] = called_here(function)
        self._own_file = code_file(function)
        self._limit = limit
        self._effects = effects
        thread = f"handler {name}"
        self._crew = None if is_async(function) else Crew(thread, limit, concurrency)
        self._loop = LoopCrew(thread, limit, concurrency) if self._crew is None else None

    def handle(self, batch: Batch) -> None:
        """See Handler."""
        if self._effects:
            said = self._effects.known([idempotency_key(batch.facts[place]) for place in batch.todo])
            for place in batch.todo if said else ():
                if (word := said.get(idempotency_key(batch.facts[place]))) is not None:
                    batch.say(place, word)
        if self._crew:
            self._crew.run(batch, self._handle if self._effects else self._handle_without_database)
        elif self._loop:
            self._loop.run(batch, partial(self._handle_async, self._loop))

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function, so that `one` can call it."""
        return self._loop is not None

    async def one(self, facts: Facts, raw: bytes) -> Word:
        """The word on a single delivery, awaited in another event loop than the function's; any number may be under way at once, and
        concurrency is the caller's. For coroutine functions only. Raises Hold, Newer."""
        assert self._loop
        if self._effects:
            key = idempotency_key(facts)
            if (word := (await asyncio.to_thread(self._effects.known, [key])).get(key)) is not None:
                return word
        return await self._loop.one(facts, raw, partial(self._handle_async, self._loop))

    def close(self) -> None:
        """See Handler."""
        for part in (self._crew, self._loop, self._effects):
            if part:
                part.close()

    # -- plain functions ----------------------------------------------------------------------------------------------

    def _handle_without_database(self, _call: Call, facts: Facts, raw: bytes) -> Word:
        try:
            value = self._function(Mail(facts, raw))
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises, SystemExit too, is its word on this mail and no more
            return of_raise(error, self._own_file)
        return of_return(value, facts)

    def _handle(self, call: Call, facts: Facts, raw: bytes) -> Word:
        session = self._session(call, facts)
        while (db := session.begin()) is not None:
            try:
                word: Word = of_return(self._function(Mail(facts, raw, db)), facts)
            except BaseException as error:  # noqa: BLE001 - as above
                word = of_raise(error, self._own_file)
            session.end(word)
        return session.word

    # -- coroutine functions ------------------------------------------------------------------------------------------

    async def _handle_async(self, loop: LoopCrew, call: Call, facts: Facts, raw: bytes) -> Word:
        if self._effects is None:
            return await loop.timed(call, self._awaited(facts, Mail(facts, raw)))
        session = self._session(call, facts)
        while (db := session.begin()) is not None:
            session.end(await loop.timed(call, self._ended(loop, call, facts, Mail(facts, raw, db), session)))
        return session.word

    async def _ended(self, loop: LoopCrew, call: Call, facts: Facts, mail: Mail, session: "Session") -> Word:
        """Ends the transaction in the same step of the loop in which the function returns. In between, another delivery could wait for
        a row that this one has locked, and its SQL blocks the loop in which this one is to be committed."""
        word = loop.in_time(call, await self._awaited(facts, mail))
        session.end(word)
        return word

    async def _awaited(self, facts: Facts, mail: Mail) -> Word:
        try:
            return of_return(await awaited_here(self._function(mail)), facts)
        except BaseException as error:  # noqa: BLE001 - as above; a cancellation by us is known by its time
            return of_raise(error, self._own_file)

    def _session(self, call: Call, facts: Facts) -> "Session":
        assert self._effects
        session = self._effects.session(idempotency_key(facts), self._own_file, overran(self._limit))
        call.cut_off = session.cut_off
        return session
