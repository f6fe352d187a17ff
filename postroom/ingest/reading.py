"""Reading one mail piece by piece in bounded memory: kept whole up to a size, beyond it as its beginning, size and hash."""

from hashlib import sha256
from io import BytesIO
from typing import NamedTuple, Protocol

from topology.envelope import KEPT

_BLOCK = 1 << 20


class Kept(NamedTuple):
    """A mail as it was read. raw: all of it, or its beginning when truncated. size and digest (SHA-256, hex): of all of it."""

    raw: bytes
    size: int
    digest: str
    truncated: bool


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int, /) -> bytes: ...


class Keeper:
    """Collects the pieces of one mail. Holds at most twice `max_size` octets, however long the mail is."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._most = max_size  # that is held in `_pending`
        self._held = 0
        self._pending = BytesIO()  # not a list: pieces may be lines of two octets
        self._size = 0
        self._hash = sha256()
        self._beginning: bytes | None = None

    def add(self, piece: bytes) -> None:
        """Takes the next octets of the mail."""
        self._held += self._pending.write(piece)
        if self._held > self._most:
            self._let_go()

    def done(self) -> Kept:
        """The mail; there will be no more of it."""
        if self._beginning is None:
            raw = self._pending.getvalue()
            return Kept(raw, len(raw), sha256(raw).hexdigest(), False)
        self._let_go()
        return Kept(self._beginning, self._size, self._hash.hexdigest(), True)

    def _let_go(self) -> None:
        block = self._pending.getvalue()
        self._pending = BytesIO()
        self._held, self._most = 0, _BLOCK
        self._size += len(block)
        self._hash.update(block)
        if self._beginning is None:
            self._beginning = block[: min(KEPT, self._max_size)]


def read_mail(stream: Readable, max_size: int) -> Kept:
    """The rest of the stream as one mail. Raises what reading raises."""
    keeper = Keeper(max_size)
    while piece := stream.read(_BLOCK):
        keeper.add(piece)
    return keeper.done()
