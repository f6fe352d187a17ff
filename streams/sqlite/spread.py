"""To which partitions keys go, for many keys at once.

Most keys of a commit are new (outcomes have mail ids), and the hash of one takes Python longer than storing its record. Keys of one length
are hashed side by side instead, each in 64 bits of one large integer, at a fifth of the time.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from streams.record import murmur2_partition

_FEW = 8
"""Keys of one length that are not worth it."""
_WORD, _M, _SEED = 0xFFFFFFFF, 0x5BD1E995, 0x9747B28C
"""See `streams.record.murmur2_partition`."""


def hashes(keys: Iterable[bytes]) -> dict[bytes, int]:
    """The positive hash of each key: it goes to partition hash % partitions, as `murmur2_partition` has it."""
    by_length: dict[int, list[bytes]] = {}
    for key in set(keys):
        by_length.setdefault(len(key), []).append(key)
    found: dict[bytes, int] = {}
    for some in by_length.values():
        found.update(zip(some, map(_hash, some) if len(some) < _FEW else _side_by_side(some), strict=True))
    return found


@lru_cache(maxsize=16384)
def _hash(key: bytes) -> int:
    return murmur2_partition(key, 1 << 31)


class _Lanes(NamedTuple):
    """For so many keys: 1 and 32 bits in each lane, and how lanes are packed."""

    ones: int
    words: int
    packing: struct.Struct


@lru_cache(maxsize=64)
def _lanes(count: int) -> _Lanes:
    ones = int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
    return _Lanes(ones, ones * _WORD, struct.Struct(f"<{count}Q"))


def _side_by_side(keys: list[bytes]) -> list[int]:
    """Of keys of one length. A product of two words fits into a lane, and what a shift brings over from the next lane is masked away."""
    rest = len(keys[0]) & 3
    count = len(keys[0]) >> 2
    ones, words, packing = _lanes(len(keys))
    parts = struct.unpack(f"<{count * len(keys)}I", b"".join([key[:-rest] for key in keys] if rest else keys))
    h = ones * (_SEED ^ len(keys[0]))
    for place in range(count):
        k = int.from_bytes(packing.pack(*parts[place::count]), "little") * _M & words
        h = (h * _M & words) ^ (((k ^ k >> 24) & words) * _M & words)
    if rest:
        h = (h ^ int.from_bytes(packing.pack(*[int.from_bytes(key[-rest:], "little") for key in keys]), "little")) * _M & words
    h = (h ^ h >> 13) & words
    h = h * _M & words
    h ^= h >> 15
    return [one & 0x7FFFFFFF for one in packing.unpack((h & words).to_bytes(packing.size, "little"))]
