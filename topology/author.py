"""Who a mail says that it is from: From, and Sender where it counts (RFC 5322 section 3.6.2)."""

from typing import NamedTuple

from topology.aspect import Aspect, of_fields
from topology.head import Head


class Author(NamedTuple):
    """from_: From's address as compared; sender: Sender's. ambiguous: nobody can tell who wrote it (two From fields, or several
    mailboxes in From with no single Sender). shared: From names several, so Sender's account answers for it, at most weakly."""

    from_: str | None = None
    sender: str | None = None
    ambiguous: bool = False
    shared: bool = False

    @property
    def address(self) -> str | None:
        """The author's address: From's, or Sender's where From names several."""
        return self.sender if self.shared else self.from_


def _read(head: Head, _beside: str | None) -> Author:
    froms, senders = head.addresses("from"), head.addresses("sender")
    if len(froms) > 1:
        return Author(ambiguous=True)
    sender = None
    if len(senders) == 1:
        named, broken = senders[0]
        sender = named[0].key if len(named) == 1 and not broken else None
    if not froms:
        return Author(sender=sender)
    found, broken = froms[0]
    if len(found) > 1:
        return Author(sender=sender, shared=True) if sender else Author(ambiguous=True)
    # One readable address beside something that cannot be read: mail programs may show the other part, so nobody is the author.
    return Author(found[0].key if len(found) == 1 and not broken else None, sender)


read = Aspect(of_fields("from", "sender"), _read)
"""The author of a head, out of the mail's own header only (an attached mail's header does not count)."""
