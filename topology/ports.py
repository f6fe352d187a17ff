"""The small ports through which the topology touches the world. Each is passed in; `postroom` has the real ones.

A port that is away as a whole raises `streams.faults.Hold`, and the role waits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.record import Position, Record
from topology.answers import Answer


@dataclass(frozen=True, slots=True)
class Account:
    """Who a sender is to the product. addresses: verified ones, as compared. fingerprints: of OpenPGP certificates, upper-case hex
    without blanks."""

    id: str
    name: str
    active: bool = True
    addresses: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    require_strong: bool = False


class Directory(Protocol):
    """The accounts."""

    def lookup(self, addresses: Collection[str]) -> Mapping[str, Account]:
        """The accounts that own these addresses (as compared), by address; one query whatever their number. Addresses of nobody
        are left out. Raises Hold when the directory is away."""
        ...


class Resolver(Protocol):
    """DNS."""

    def txt(self, names: Collection[str]) -> Mapping[str, Answer]:
        """TXT records, side by side, within a deadline, cached by TTL. Every name asked for is in the answer. Raises Hold only
        when all of DNS is away."""
        ...


class Archive(Protocol):
    """Where large mails live, by content."""

    def put(self, data: bytes, digest: str, owner: str = "") -> str:
        """Stores the bytes durably and returns their reference; the same bytes give the same reference. owner: who refers to them,
        letters and digits. Raises Hold."""
        ...

    def get(self, reference: str) -> bytes | None:
        """The bytes, or None when they are gone. Raises Hold."""
        ...


class Mails(Protocol):
    """The mails behind facts: the raw records, by position, and the archive behind those."""

    def fetch(self, positions: Sequence[Position]) -> list[Record | None]:
        """See `streams.log.Reader.fetch`."""
        ...
