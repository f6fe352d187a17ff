"""A record's headers as bytes."""

import json
import struct
from functools import lru_cache
from typing import NamedTuple

from streams.record import Headers


class _Shape(NamedTuple):
    """A sequence of header names, and how headers of these names are packed. Records of one kind have the same names in the same
    order, so there are few shapes, and each is worked out once."""

    names: tuple[str, ...]
    prefix: bytes
    lengths: struct.Struct


@lru_cache(maxsize=1024)
def _shape_of(names: tuple[str, ...]) -> _Shape:
    listed = json.dumps(names, separators=(",", ":")).encode("ascii")
    return _Shape(names, struct.pack("<I", len(listed)) + listed, struct.Struct(f"<{len(names)}I"))


@lru_cache(maxsize=1024)
def _shape_in(listed: bytes) -> _Shape:
    return _shape_of(tuple(json.loads(listed)))


def encode_headers(headers: Headers) -> bytes:
    """The headers as bytes: the length of what follows, the names as a JSON list, the length of each value, the values. Lengths are
    32-bit numbers, little-endian."""
    if not headers:
        return b""
    names, values = zip(*headers, strict=False)  # strict costs a fifth of it, and a header is a pair
    shape = _shape_of(names)
    return b"".join((shape.prefix, shape.lengths.pack(*map(len, values)), *values))


def decode_headers(blob: bytes, at: int) -> Headers:
    """The headers that `encode_headers` wrote, which begin there in a blob."""
    begin = at + 4
    at = begin + int.from_bytes(blob[at:begin], "little")
    names, _, lengths = _shape_in(blob[begin:at])
    end = at + lengths.size
    headers: list[tuple[str, bytes]] = []
    for name, length in zip(names, lengths.unpack_from(blob, at), strict=True):
        at, end = end, end + length
        headers.append((name, blob[at:end]))
    return tuple(headers)
