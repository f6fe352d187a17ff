"""Fixtures for handlers on Faust."""

from tests.database import database, postgres

__all__ = ["database", "postgres"]
