"""Times as people give them on the command line."""

import re
from datetime import UTC, datetime, timedelta

_RELATIVE = re.compile(r"(\d{1,6})\s*([smhdw])\Z")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_EXAMPLES = "write 2026-03-01, 2026-03-01T10:00:00Z, 30d, 24h, today or yesterday"


def parse_time(text: str, now_ms: int) -> int:
    """A time in ms since 1970 UTC.

    text: ISO 8601 or RFC 3339 (a date alone is its first moment; without a zone it is UTC); a number with s, m, h, d or w, which
    is so long ago; `now`, `today` or `yesterday` (the first moment of that day, UTC). Raises ValueError with examples.
    """
    word = text.strip().lower()
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    midnight = now.replace(hour=0, minute=0, second=0)
    if word == "now":
        return now_ms
    if word == "today":
        return _ms(midnight)
    if word == "yesterday":
        return _ms(midnight - timedelta(days=1))
    if relative := _RELATIVE.match(word):
        return now_ms - int(relative[1]) * _UNITS[relative[2]] * 1000
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; {_EXAMPLES}") from None
    return _ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
