"""The marks by which we know our own mails when they come back."""

REPLY_MARK = "X-Postroom-Reply"
"""On every mail that we write; its value is the reply's id. The bounce filter's `loop` rule looks for it."""
