"""What the storms share."""

import os
import random

import pytest


@pytest.fixture
def chance() -> random.Random:
    """What decides about the moments; its seed stands in the output of a test that fails. CHAOS_SEED gives one again."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CHAOS_SEED={seed}")
    return random.Random(seed)
