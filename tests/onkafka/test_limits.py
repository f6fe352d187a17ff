"""What the postman counts, on a real broker."""

import pytest

from tests.acceptance.place import Letters
from tests.onkafka.conftest import MakePlace

pytestmark = pytest.mark.kafka


def test_the_replies_of_a_day_are_counted_on_after_a_restart(make: MakePlace, letter: Letters) -> None:
    """The group then stands behind what Kafka writes at the end of a transaction, where no record is."""
    place = make(sections={"replies": {"answer": "anyone", "per_address_a_day": 1}})
    for _ in range(3):
        place.mail(letter("1@nowhere.example"), "--recipient", "1@nowhere.example")
        place.drain()  # a postman of its own each time
    replies = [row["reply"] for row in place.outcomes()]
    assert set(replies) == {"sent", "silent:limit"}
    assert replies.count("sent") <= 2  # one a day, and midnight may come in between
