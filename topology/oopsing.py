"""The port through which failures are recorded under the id that the sender is told."""

from typing import Protocol


class Oopses(Protocol):
    """Reports of errors, by OOPS id."""

    def record(
        self,
        oops_id: str,
        *,
        mail_id: str,
        delivery_id: str,
        where: str,
        error: BaseException | None = None,
        detail: str = "",
        traceback: str | None = None,
    ) -> None:
        """Records what happened, durably, before the outcome that quotes the id is committed; recorded again (a batch may come
        twice), the last one stays. where: the stage, or `handler <name>`. error: with its traceback, None where nothing was raised
        (no-handler, handler-false, crashed). detail: words for people who run the mail. traceback: its text, where the exception
        itself was in another process.

        Never raises: a report is for people who look, and its loss must not keep the outcome from the log. One that could not be
        written is an error in the log of the program."""
        ...
