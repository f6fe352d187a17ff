"""DKIM (RFC 6376, 8301, 8463): what the signatures of a mail are worth.

    signed = signatures(raw)                                   # cheap; () for unsigned mail
    answers = resolver.txt({one.dns_name for one in signed if one.dns_name})
    results = verify(signed, answers, received_at_ms)          # pure: no network, no clock

A pass says that the domain in d= signed this body and these header fields, From among them. Whether that domain may speak for
the author is not asked here: see topology.alignment.
"""

from topology.dkim.signature import MAX_SIGNATURES, Signed, signatures
from topology.dkim.verify import DkimResult, Limits, verify
from topology.dkim.words import Flaw, Result

__all__ = ["MAX_SIGNATURES", "DkimResult", "Flaw", "Limits", "Result", "Signed", "signatures", "verify"]
