"""Replays are tested on whole installations, on every engine."""

from tests.acceptance.conftest import letter, log_url, make, pytest_collection_modifyitems
from tests.database import database, postgres

__all__ = ["database", "letter", "log_url", "make", "postgres", "pytest_collection_modifyitems"]
