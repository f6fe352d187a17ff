"""The thread that makes steps durable, where something happens while it waits; the broker's part is played by what stores nothing."""

import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from streams.errors import Fenced
from streams.kafka.pipeline import Pipeline
from streams.kafka.transactions import Step, Transactor
from tests.contract.waiting import until


class Storing:
    """A transactor that counts."""

    def __init__(self) -> None:
        self.stored = 0

    def ready(self, deadline: float) -> None: ...

    def idle(self) -> None: ...

    def drop(self) -> None: ...

    def run(self, steps: list[Step], deadline: float, stopped: Callable[[], bool]) -> None:
        self.stored += len(steps)


@pytest.fixture
def storing() -> Storing:
    return Storing()


@pytest.fixture
def pipeline(storing: Storing) -> Iterator[Pipeline]:
    """Waits long for others to join a transaction, unless somebody waits for it."""
    made = Pipeline(cast("Transactor", storing), interval=1.0, patience=5.0, together=True)
    yield made
    made.close(5.0)


def submit(pipeline: Pipeline) -> Step:
    step = Step([], pipeline.future())
    pipeline.submit(step)
    return step


def test_what_fails_while_it_waits_for_others_to_join_leaves_the_thread_at_work(pipeline: Pipeline, storing: Storing) -> None:
    """As when the assignment is lost in the commit interval."""
    submit(pipeline).done.result(5)
    joining = submit(pipeline)
    time.sleep(0.05)  # the thread has seen it, and waits for the interval to pass
    assert not joining.done.done()
    pipeline.fail(Fenced("the assignment was lost"))
    with pytest.raises(Fenced):
        joining.done.result(5)
    assert pipeline.settle(5.0)
    time.sleep(0.05)  # told not to wait for the interval, it finds nothing left
    pipeline.reset()
    submit(pipeline).done.result(5)
    assert storing.stored == 2


def test_what_comes_after_a_failure_fails_until_it_is_reset(pipeline: Pipeline, storing: Storing) -> None:
    pipeline.fail(Fenced("the assignment was lost"))
    with pytest.raises(Fenced):
        submit(pipeline).done.result(5)
    pipeline.reset()
    step = submit(pipeline)
    until(step.done.done, lambda: time.sleep(0.01), "the interval")
    assert (step.done.exception(), storing.stored) == (None, 1)
