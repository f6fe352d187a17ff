"""Copies are tested on whole installations."""

from tests.copying.town import lived, town

__all__ = ["lived", "town"]
