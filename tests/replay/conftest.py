"""Replays are tested on whole installations, on every engine."""

from tests.acceptance.conftest import letter, log_url, make
from tests.chaos.conftest import chance
from tests.database import database, postgres

__all__ = ["chance", "database", "letter", "log_url", "make", "postgres"]
