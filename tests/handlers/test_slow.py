"""What a slow handler costs: its first words are written soon, and nobody is called twice."""

import time
from collections.abc import Callable

import pytest

from handlers import Mail
from handlers.stage import HandlerStage
from tests.handlers.kit import routed


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_first_words_are_written_and_the_rest_comes_again(stage: Callable[..., HandlerStage], concurrency: int) -> None:
    """So a stop is heeded and the log polled, however long the batch is."""
    called: list[str] = []

    def handle(mail: Mail) -> None:
        called.append(mail.delivery_id)
        time.sleep(0.02)

    made = stage(handle, budget=0.05, concurrency=concurrency)
    todo = [routed(number) for number in range(12)]
    rounds = 0
    while todo:
        results = made.process(todo)
        assert results
        todo = todo[len(results) :]
        rounds += 1
    assert len(called) == len(set(called)) == 12
    assert rounds > 1
