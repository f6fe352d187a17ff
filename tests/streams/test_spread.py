"""Keys go to the partitions to which every other client of Kafka's would send them, however many are hashed at once."""

from hypothesis import given
from hypothesis import strategies as st

from streams.record import murmur2_partition
from streams.sqlite.spread import hashes


@given(st.lists(st.binary(max_size=12) | st.binary(min_size=32, max_size=32), max_size=60))
def test_many_keys_are_hashed_as_each_alone(keys: list[bytes]) -> None:
    assert hashes(keys) == {key: murmur2_partition(key, 1 << 31) for key in keys}


def test_keys_of_one_length_are_hashed_as_each_alone() -> None:
    for length in range(70):
        keys = [bytes((number * 7 + place) % 251 for place in range(length)) for number in range(40)]
        assert hashes(keys) == {key: murmur2_partition(key, 1 << 31) for key in keys}
