"""Facts without what they quote of a mail. Ids, addresses, times, verdicts and reason codes stay: accounting, repeats and the limits of
replies rest on them."""

from typing import Any

import orjson

from postroom.reading import glance

GONE = "erased:"
"""How the archive's reference of an erased mail begins. No archive has anything under it, so whoever still asks hears `mail-gone`."""

_DONE = f'"archived":"{GONE}'.encode()

_QUOTES: dict[str, dict[str, Any]] = {
    "screening": {"field": None, "subject": None},
    "authentication": {"reason": None, "openpgp": None, "dkim": [], "results": None, "dns": {}},
    "outcome": {"detail": None},
    "replay": {"evidence": None},
}
"""What quotes the mail, by member: header fields, signatures and their keys, and the words of errors, which may repeat it."""


def is_redacted(facts: bytes) -> bool:
    """Whether facts went through `redacted` before."""
    return _DONE in facts


def redacted(facts: bytes) -> bytes:
    """The document without the quotations, as bytes. Raises ValueError for what is no facts document."""
    document = glance.document(facts)
    document["envelope"] = without_content(document["envelope"])
    for member, emptied in _QUOTES.items():
        if document.get(member):
            document[member].update({name: value for name, value in emptied.items() if name in document[member]})
    return orjson.dumps(document)


def without_content(envelope: dict[str, Any]) -> dict[str, Any]:
    """The envelope of an erased mail: it says that the bytes are gone, and under which hash they were kept."""
    return envelope | {"archived": GONE + kept_digest(envelope)}


def kept_digest(envelope: dict[str, Any]) -> str:
    """The hash, hex, of the bytes that the archive has or had; of the mail itself where it was never there."""
    reference: str | None = envelope.get("archived")
    return reference.rpartition(":")[2] if reference else str(envelope["digest"])
