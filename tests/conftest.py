"""What holds for all tests."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.acceptance.place import end_all

# How long an example takes says something of the machine, and of what else it does.
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """No test leaves processes behind."""
    yield
    end_all()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what is marked `sqlite_only` on any other engine; and what is marked `soak`, unless -m names it: that is long, and has a
    make target of its own."""
    asked = "soak" in config.getoption("-m")
    out = [item for item in items if _on_other_engine(item) or (item.get_closest_marker("soak") and not asked)]
    if out:
        config.hook.pytest_deselected(items=out)
        left = set(out)
        items[:] = [item for item in items if item not in left]


def _on_other_engine(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("sqlite_only") and item.get_closest_marker("kafka"))
