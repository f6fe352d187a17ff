"""TXT records: from DNS for a whole batch of names at once, or from a file."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.resolver

from streams.faults import Hold
from topology.answers import Answer

TRY = 1.5  # seconds that one name server is waited for, before the question goes out again
ALL_TRIES = 5.0  # seconds in which a name is asked for again and again, for all names of a batch together
AGAIN = 0.3  # seconds after which a refusal (SERVFAIL and the like) is questioned once more
PROBE = 2.0  # seconds in which a name server that is there at all says something
SIDE_BY_SIDE = 300  # look-ups under way at once; each holds a socket
MAX_CACHED = 20_000  # names; about 20 MB at the most
# Bounds, in seconds, on how long an answer is kept, whatever its TTL: a revoked key is noticed within an hour, and a name
# that cannot be looked up costs its 5 seconds once a minute.
KEEP_AT_LEAST, KEEP_AT_MOST, KEEP_ERROR, KEEP_UNSTATED = 5, 3600, 60, 300


class DnsResolver:
    """Asks the name servers of this machine (or those given, each with that port), and keeps what they say.

    May be shared by threads. clock: seconds that only go forward, for the cache."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        port: int = 53,
        lifetime: float = ALL_TRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nameservers, self._port, self._lifetime, self._clock = list(nameservers), port, lifetime, clock
        self._cache: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._lock = threading.Lock()

    def txt(self, names: Collection[str]) -> Mapping[str, Answer]:
        """The TXT records at each of these names (A-labels, no dot at the end), asked side by side. Blocks for at most the lifetime,
        and by one TRY longer for every SIDE_BY_SIDE names, so that many dead names leave no time for a good one out. A name that no
        server could tell, after its tries, is a `temperror`, and stays so for KEEP_ERROR seconds. Raises Hold when none could be
        told and no name server says anything at all. Not to be called from a coroutine."""
        now = self._clock()
        with self._lock:
            known = {name: kept[1] for name in names if (kept := self._cache.get(name)) and kept[0] > now}
        missing = [name for name in dict.fromkeys(names) if name not in known]
        if not missing:
            return known
        fresh = asyncio.run(self._ask(missing))
        self._keep(fresh)
        return known | fresh

    def _keep(self, fresh: Mapping[str, Answer]) -> None:
        now = self._clock()
        with self._lock:
            for name, answer in fresh.items():
                self._cache[name] = (now + answer.ttl, answer)
                self._cache.move_to_end(name)
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)

    async def _ask(self, names: Sequence[str]) -> dict[str, Answer]:
        resolver = self._resolver()
        free = asyncio.Semaphore(SIDE_BY_SIDE)
        deadline = time.monotonic() + self._lifetime

        async def one(name: str) -> tuple[Answer, bool]:
            async with free:
                return await _look_up(resolver, name, max(deadline - time.monotonic(), resolver.timeout))

        told = await asyncio.gather(*map(one, names))
        if not any(spoke for _, spoke in told) and not await _speaks(resolver, min(PROBE, self._lifetime)):
            servers = ", ".join(map(str, resolver.nameservers))
            raise Hold("dns", f"no name server answers ({servers}): tried {len(names)} names and the root", probe_after=5.0)
        return {name: answer for name, (answer, _) in zip(names, told, strict=True)}

    def _resolver(self) -> dns.asyncresolver.Resolver:
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
        except dns.resolver.NoResolverConfiguration as error:
            raise Hold("dns", "this machine has no name servers: /etc/resolv.conf names none", probe_after=5.0) from error
        if self._nameservers:
            resolver.port = self._port
            resolver.nameservers = list(self._nameservers)
        resolver.timeout = min(TRY, self._lifetime)
        resolver.use_edns(0, 0, 1232)  # a key of 2,048 bits does not fit into the 512 octets that go without
        return resolver


async def _look_up(resolver: dns.asyncresolver.Resolver, name: str, lifetime: float) -> tuple[Answer, bool]:
    """The answer, and whether a name server said anything."""
    try:
        try:
            found = await _resolve(resolver, name, lifetime)
        except dns.resolver.NoNameservers:
            await asyncio.sleep(AGAIN)
            found = await _resolve(resolver, name, lifetime)
    except dns.resolver.NXDOMAIN as error:
        return Answer("none", ttl=min(map(_ttl, error.kwargs["responses"].values()), default=KEEP_UNSTATED)), True
    except (dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout) as error:
        return Answer("temperror", ttl=KEEP_ERROR, why=str(error)[:200]), _spoke(error)
    except dns.exception.DNSException as error:
        return Answer("permerror", ttl=KEEP_ERROR, why=f"{type(error).__name__}: {error}"[:200]), True
    texts = [b"".join(record.strings) for record in found.rrset or ()]
    return Answer.of(texts, _ttl(found.response)), True


async def _resolve(resolver: dns.asyncresolver.Resolver, name: str, lifetime: float) -> dns.resolver.Answer:
    return await resolver.resolve(dns.name.from_text(name), "TXT", raise_on_no_answer=False, lifetime=lifetime)


def _ttl(response: dns.message.Message) -> int:
    """For how long the answer may be kept: its TTL, the SOA's for a name that does not exist (RFC 2308 5), within our bounds."""
    chain = response.resolve_chaining() if isinstance(response, dns.message.QueryMessage) else None
    stated = chain.minimum_ttl if chain and (chain.answer is not None or response.authority) else KEEP_UNSTATED
    return max(KEEP_AT_LEAST, min(KEEP_AT_MOST, stated))


def _spoke(error: dns.exception.DNSException) -> bool:
    """Whether a failed look-up got any response, be it a refusal."""
    return any(attempt[4] is not None for attempt in error.kwargs.get("errors", ()))


async def _speaks(resolver: dns.asyncresolver.Resolver, lifetime: float) -> bool:
    """Whether any name server says anything: one dead name must not stop the processing, all of DNS away must."""
    try:
        await resolver.resolve(dns.name.root, "NS", raise_on_no_answer=False, lifetime=lifetime)
    except (dns.resolver.NoNameservers, dns.resolver.LifetimeTimeout) as error:
        return _spoke(error)
    except dns.exception.DNSException:
        return True
    return True
