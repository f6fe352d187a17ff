"""Large messages of ours: above the inline limit the archive has the bytes, and the record a reference to them."""

from hashlib import sha256

from streams.record import Draft, Headers, Record
from topology.ports import Archive

ARCHIVED = "pr_archived"
"""The header with the archive's reference; the value is empty then. (What the facts' envelope refers to is the original.)"""


def stowed(draft: Draft, archive: Archive, inline_limit: int) -> Draft:
    """The draft as it is to be written. Raises Hold when the archive is away."""
    if len(draft.value) <= inline_limit:
        return draft
    reference = archive.put(draft.value, sha256(draft.value).hexdigest(), owner_of(draft.headers))
    return draft._replace(value=b"", headers=(*draft.headers, (ARCHIVED, reference.encode())))


def owner_of(headers: Headers) -> str:
    """Under which name a message of ours refers to the archive: its ce_id, letters and digits."""
    return "".join(filter(str.isalnum, dict(headers).get("ce_id", b"").decode("ascii", "replace")))


def message_of(record: Record, archive: Archive) -> bytes | None:
    """The message that a record of mail.answers or mail.replies is for, or None when the archive lost it. Raises Hold."""
    reference = record.header(ARCHIVED)
    return record.value if reference is None else archive.get(reference.decode())
