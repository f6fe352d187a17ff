"""How the readers of this package say that something cannot be read. Neither leaves the package."""


class DamagedError(Exception):
    """A signature or its frame breaks the format. The text says what, for the person who signed."""


class AmbiguousError(Exception):
    """The mail can be read in more than one way, so that another program may show other text than what was verified."""
