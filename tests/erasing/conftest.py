"""Whole installations on every engine, and hand-made logs."""

from tests.acceptance.conftest import letter, log_url, make
from tests.database import database, postgres
from tests.ingest.conftest import bucket
from tests.reading.conftest import postroom, story

__all__ = ["bucket", "database", "letter", "log_url", "make", "postgres", "postroom", "story"]
