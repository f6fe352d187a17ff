"""What would have to be different for another outcome: a sentence or two for every reason code."""

from collections.abc import Mapping

_RULE = (
    "Without this field, or with rules = {{ {reason} = false }} in [bounce_filter], only the rules behind it would be asked; "
    "a mail that a rule in force would have dropped is never answered."
)
_PREVIEW = "`postroom replay --id {mail_id} --settings OTHER.toml` shows what other settings would make of it."
_AFTER_FIX = "Once that is mended, `postroom replay --id {mail_id} --apply` gives it to the handler again."

OTHERWISE: Mapping[str, tuple[str, ...]] = {
    "null-sender": (
        "With an envelope sender it would be a mail like any other; the null sender is kept for reports about mail, which nobody answers.",
        _RULE,
    ),
    "delivery-report": ("A mail of any other type than multipart/report would pass this rule.", _RULE),
    "precedence": (_RULE,),
    "auto-submitted": ("With `Auto-Submitted: no`, or without it, it would pass this rule.", _RULE),
    "robot": ("From another sender, or without the field of an answering machine, it would pass this rule.", _RULE),
    "list": (_RULE,),
    "loop": ("A mail without our own mark and with fewer Received fields would pass; [bounce_filter] max_received says how many.",),
    "unknown-sender": (
        "If {sender} were an address of an account, it would go to the handler.",
        "With [handlers.{handler}] allow_unknown_senders = true the handler would take mail of anybody.",
    ),
    "inactive-account": ("If the account {account} were active, it would go on to routing.",),
    "no-recipient": (
        "With a recipient in the envelope, in an original-recipient header that [routing] names, or in To or Cc, it would be routed.",
    ),
    "from-ambiguous": ("With one From field of one address, or a Sender beside several, its author would be known.",),
    "malformed": ("A mail whose header has at most 1 MiB and 10,000 fields, for at most 100 handled addresses, would be read.",),
    "bad-signature": (
        "With a good signature by a key of the account {account}, or with none, it would go on to routing.",
        "A key that was missing goes into [accounts] keys and its fingerprint into the account; `--as-of now` then judges by it.",
    ),
    "signature-time": (
        "Signed closer to the time of receipt it would hold.",
        "[authentication] signature_max_age and signature_max_future say how far apart the two may be.",
    ),
    "strong-required": (
        "With proof of its sender (OpenPGP by a key of the account, DKIM by a domain in trusted_domains, or a trusted "
        "Authentication-Results field) it would go to the handler.",
        "Proof is demanded by require_strong of the account, or of [handlers.{handler}].",
    ),
    "too-large": ("A mail of at most [ingest] max_size octets would go on to routing.",),
    "refused": ("The handler {handler} refused it, with the words above; only the handler knows what it would take.",),
    "no-handler": (
        "If a handler's domains named {domain}, and its patterns fitted the address, it would go to it.",
        "`postroom replay --id {mail_id} --from routing --apply` routes it again once there is one.",
    ),
    "handler-error": (
        "The handler {handler} raised an error. `postroom oops {oops_id}` has its traceback, and `postroom failures` who else met it.",
        _AFTER_FIX + " `postroom replay --fingerprint {fingerprint} --apply` does so for all that failed alike.",
    ),
    "handler-false": ("The handler {handler} returned False. If it returned None or True, the mail would be handled.", _AFTER_FIX),
    "timeout": ("The handler {handler} ran out of time on its last try; [handlers.{handler}] timeout says how long it has.", _AFTER_FIX),
    "gave-up": (
        "The handler {handler} asked for another try until [handlers.{handler}] give_up had passed; had it ended before, that would count.",
        _AFTER_FIX,
    ),
    "crashed": ("The process died each time it had this mail in hand.", _AFTER_FIX),
    "stage-error": ("The stage itself raised an error, so this is a fault of postroom. `postroom oops {oops_id}` has its traceback.",),
    "mail-gone": (
        "The mail itself was no longer to be had: erased, or older than what the log or the archive keeps. Nothing brings it back.",
    ),
}
"""By reason code. What stands in braces is filled in by `otherwise`."""

_BY_SETTINGS = frozenset(
    {
        *("null-sender", "delivery-report", "precedence", "auto-submitted", "robot", "list", "loop"),
        *("unknown-sender", "no-recipient", "signature-time", "strong-required", "no-handler"),
    }
)


def otherwise(reason: str | None, known: Mapping[str, str | None]) -> list[str]:
    """The sentences for a reason. known: mail_id, sender, account, handler, domain, oops_id and fingerprint, as far as known."""
    filled = {name: value or "it" for name, value in known.items()} | {"reason": reason or ""}
    sentences = [text.format_map(filled) for text in OTHERWISE.get(reason or "", ())]
    return [*sentences, _PREVIEW.format_map(filled)] if reason in _BY_SETTINGS else sentences
