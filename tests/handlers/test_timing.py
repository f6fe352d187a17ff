"""Time limits: a delivery that overruns is tried again, and nobody else suffers by it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.coroutines import LoopCrew
from handlers.python import PythonHandler
from handlers.stage import HandlerStage
from tests.handlers.kit import outcomes, routed

MakeStage = Callable[..., HandlerStage]

LIMIT = 0.3
"""Seconds. Long enough for a busy machine to start a thread."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the handlers of these tests wait for; opened at the end, so that no thread is left behind."""
    opened = threading.Event()
    yield opened
    opened.set()


def number(mail: Any) -> int:
    """The number of `kit.raw_mail`."""
    return int(mail.message["subject"].split()[-1])


def test_a_handler_that_overruns_is_tried_again_and_the_rest_goes_on(stage: MakeStage, gate: threading.Event) -> None:
    """The delivery gets Again with `timeout`, the others of the batch are handled by a new thread."""
    threads = set()

    def handle(mail: Any) -> None:
        threads.add(threading.current_thread().ident)
        if number(mail) == 2:
            gate.wait()

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(5)]
    assert outcomes(stage(handle, limit=LIMIT).process(records)) == ["handled", "handled", "timeout", "handled", "handled"]
    assert len(threads) == 2


def test_the_threads_of_a_crew_outlive_the_batch(stage: MakeStage) -> None:
    """A handler may keep things by thread (a session, an SQLite connection): without an overrun it is always the same one."""
    threads = set()
    made = stage(lambda _mail: threads.add(threading.current_thread().ident))
    for n in range(5):
        made.process([routed(n)])
    assert len(threads) == 1
    assert threads != {threading.current_thread().ident}


def test_what_an_abandoned_call_comes_to_later_is_ignored(stage: MakeStage, gate: threading.Event) -> None:
    """Neither its result nor its thread touches a later batch."""
    came_back = threading.Event()

    def handle(mail: Any) -> bool:
        if number(mail) == 1:
            gate.wait()
            came_back.set()
            return False
        return True

    made = stage(handle, limit=LIMIT)
    assert outcomes(made.process([routed(1)])) == ["timeout"]
    gate.set()
    came_back.wait()
    assert outcomes(made.process([routed(2), routed(3)])) == ["handled", "handled"]


def test_deliveries_run_side_by_side_but_those_of_one_recipient_in_order(stage: MakeStage) -> None:
    """`concurrency`: two recipients meet at a barrier, which they can only together; each one's mails keep their order."""
    both = threading.Barrier(2)
    seen: list[int] = []

    def handle(mail: Any) -> None:
        if number(mail) < 2:
            both.wait(timeout=30)
        seen.append(number(mail))

    records = [routed(n, recipient="even@foo.example" if n % 2 == 0 else "odd@foo.example") for n in range(8)]
    assert outcomes(stage(handle, concurrency=2).process(records)) == ["handled"] * 8
    assert [n for n in seen if n % 2 == 0] == [0, 2, 4, 6]
    assert [n for n in seen if n % 2] == [1, 3, 5, 7]


def test_one_of_several_that_overruns_leaves_the_others_alone(stage: MakeStage, gate: threading.Event) -> None:
    """With concurrency the mails behind it of its own recipient follow it, those of others are handled."""

    def handle(mail: Any) -> None:
        if number(mail) == 0:
            gate.wait()

    records = [routed(n, recipient="even@foo.example" if n % 2 == 0 else "odd@foo.example") for n in range(4)]
    assert outcomes(stage(handle, limit=LIMIT, concurrency=2).process(records)) == ["timeout", "handled", "follows", "handled"]


# -- coroutines ------------------------------------------------------------------------------------------------------


def async_stage(stage: MakeStage, handle: Callable[[Any], Any], size: int = 1) -> HandlerStage:
    """A stage whose loop is given up soon, so that the tests are quick."""
    handler = PythonHandler("test", handle, limit=LIMIT, concurrency=size)
    assert handler._loop
    handler._loop.close()
    handler._loop = LoopCrew("handler test", LIMIT, size, grace=0.2)
    return stage(handler)


def test_a_coroutine_that_overruns_is_cancelled(stage: MakeStage) -> None:
    """It hears of it, and the rest of the batch is handled on the same loop."""
    cancelled = threading.Event()
    loops = set()

    async def handle(mail: Any) -> None:
        loops.add(id(asyncio.get_running_loop()))
        if number(mail) == 1:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(3)]
    assert outcomes(async_stage(stage, handle).process(records)) == ["handled", "timeout", "handled"]
    assert cancelled.is_set()
    assert len(loops) == 1


def test_a_coroutine_that_will_not_be_cancelled_is_ignored(stage: MakeStage) -> None:
    """It may go on for itself; its delivery is tried again, and the others are handled beside it."""
    over = False

    async def handle(mail: Any) -> None:
        while number(mail) == 1 and not over:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(3)]
    assert outcomes(async_stage(stage, handle).process(records)) == ["handled", "timeout", "handled"]
    over = True


def test_what_a_coroutine_finishes_while_it_is_cancelled_counts(stage: MakeStage) -> None:
    """Its work is done, so trying it again would do it twice."""

    async def handle(_mail: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    assert outcomes(async_stage(stage, handle).process([routed(1)])) == ["handled"]


def test_a_coroutine_that_blocks_its_loop_costs_the_loop_only(stage: MakeStage, gate: threading.Event) -> None:
    """The thread is abandoned, and a new loop goes on. What stood still beside it for as long is as late; the rest is handled."""
    loops = set()

    async def handle(mail: Any) -> None:
        loops.add(id(asyncio.get_running_loop()))
        if number(mail) == 1:
            gate.wait()
        await asyncio.sleep(0)

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(4)]
    assert outcomes(async_stage(stage, handle, size=2).process(records)) == ["timeout", "timeout", "handled", "handled"]
    assert len(loops) == 2


def test_coroutines_run_side_by_side(stage: MakeStage) -> None:
    """`concurrency`: the first waits for the second."""
    second = asyncio.Event()

    async def handle(mail: Any) -> None:
        if number(mail) == 0:
            await second.wait()
        else:
            second.set()

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(2)]
    assert outcomes(stage(handle, concurrency=2).process(records)) == ["handled", "handled"]


def test_what_a_coroutine_does_to_its_own_task_stays_there(stage: MakeStage) -> None:
    """Cancelling oneself is an error of that delivery; a task in the background that exits ends nothing else."""
    background: list[asyncio.Task[None]] = []

    async def exits() -> None:
        raise SystemExit(3)

    async def handle(mail: Any) -> None:
        task = asyncio.current_task()
        assert task
        if number(mail) == 0:
            task.cancel()
        if number(mail) == 1:
            background.append(asyncio.create_task(exits()))
            await asyncio.sleep(0)

    records = [routed(n, recipient=f"{n}@foo.example") for n in range(3)]
    assert outcomes(stage(handle).process(records)) == ["failed handler-error", "handled", "handled"]
    assert isinstance(background[0].exception(), SystemExit)


def test_a_coroutine_that_stops_its_loop_ends_nothing(stage: MakeStage, caplog: pytest.LogCaptureFixture) -> None:
    """Itself, what is under way beside it and what comes later are handled there, each called once; the stop is logged."""
    called: list[int] = []
    stopped = asyncio.Event()

    async def handle(mail: Any) -> None:
        called.append(number(mail))
        if number(mail) == 0:
            await stopped.wait()
        if number(mail) == 1:
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0)
            stopped.set()

    made = stage(handle, concurrency=2)
    records = [routed(n, recipient=f"{n}@foo.example") for n in range(3)]
    assert outcomes(made.process(records)) == ["handled"] * 3
    assert outcomes(made.process([routed(3), routed(4)])) == ["handled"] * 2
    assert called == [0, 1, 2, 3, 4]
    assert [record.levelname for record in caplog.records if "stopped the event loop" in record.message] == ["ERROR"]
