"""What is taken from the bytes of facts is what parsing them would give, whatever stands in a mail."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.reading import glance
from streams.faults import Newer
from streams.record import Position
from topology.facts import Envelope, Facts, Outcome, Replay, Route, Screening

HOSTILE = st.text() | st.sampled_from(
    [
        ',"raw":{"log":"x","topic":"y","partition":1,"offset":2}',
        '","outcome":{"status":"handled","reason":null,"outcome_id":"00","delivery_id":"' + "0" * 32 + '","stage":"x"',
        ',"replay":{"generation":9',
        ',"route":{"delivery_id":"' + "f" * 32 + '"',
        '\\","replay":{"generation":9}',
    ]
)
HEX = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """Facts of which every free text is hostile."""
    made = Facts(Envelope(draw(HEX), draw(HOSTILE), (draw(HOSTILE),), "2026-03-01T10:00:00.000Z", "lmtp", 3, "00", draw(HOSTILE)))
    if draw(st.booleans()):
        made = made.having(raw=Position("log", "mail.raw", draw(st.integers(0, 9999)), draw(st.integers(0, 1 << 38))))
    if draw(st.booleans()):
        made = made.having(screening=Screening(None, draw(HOSTILE), None, (draw(HOSTILE),), draw(HOSTILE)))
    if draw(st.booleans()):
        made = made.having(route=Route(draw(HEX), "bugs", draw(HOSTILE), draw(HOSTILE), "to-cc", {"name": draw(HOSTILE)}))
    if draw(st.booleans()):
        recipient = draw(st.none() | HOSTILE)
        made = made.having(
            outcome=Outcome("failed", draw(st.none() | st.just("no-handler")), draw(HEX), draw(HEX), "routing", "now", recipient)
        )
    if draw(st.booleans()):
        made = made.having(replay=Replay(draw(st.integers(1, 1 << 20)), (draw(HOSTILE),)))
    return made


@given(facts())
def test_a_glance_sees_what_parsing_sees(made: Facts) -> None:
    data = made.encode()
    outcome = made.outcome
    assert glance.raw_position(data) == made.raw
    assert glance.generation(data) == made.generation
    assert glance.routed_delivery(data) == (made.route.delivery_id if made.route else None)
    assert glance.outcome_of(data) == ((outcome.delivery_id, outcome.stage, outcome.recipient is None) if outcome else None)
    assert glance.document(data) == orjson.loads(data)


@given(facts())
def test_the_order_of_members_does_not_matter(made: Facts) -> None:
    """Another release may write them in another order; then they are parsed."""
    document = orjson.loads(made.encode())
    turned = {name: dict(reversed(value.items())) if isinstance(value, dict) else value for name, value in reversed(document.items())}
    data = orjson.dumps(turned)
    outcome = made.outcome
    assert glance.raw_position(data) == made.raw
    assert glance.generation(data) == made.generation
    assert glance.routed_delivery(data) == (made.route.delivery_id if made.route else None)
    assert glance.outcome_of(data) == ((outcome.delivery_id, outcome.stage, outcome.recipient is None) if outcome else None)


def test_facts_of_a_newer_major_version_are_refused() -> None:
    with pytest.raises(Newer):
        glance.document(b'{"version":"2.0","envelope":{}}')
