"""The row that `list` gives of an outcome, or of what is still on its way (DESIGN.md section 6)."""

from typing import Any, NamedTuple, TypedDict

from streams.record import Record


class Row(TypedDict):
    """Every field is always there, None when empty, in this order. Times are RFC 3339 in UTC with milliseconds, addresses are as
    compared. envelope_sender: "" the null sender, None where there is none. sender: the author, None before authentication.
    recipient: None for a whole mail. reply: what became of the mail that we owe, None when nothing is owed."""

    mail_id: str | None
    delivery_id: str | None
    message_id: str | None
    envelope_sender: str | None
    sender: str | None
    recipient: str | None
    status: str | None
    reason: str | None
    detail: str | None
    handler: str | None
    strength: str | None
    account: str | None
    oops_id: str | None
    received_at: str | None
    decided_at: str | None
    generation: int
    reply: str | None


FIELDS: tuple[str, ...] = tuple(Row.__annotations__)


FURTHER: tuple[str, ...] = ("domain", "fingerprint", "topic", "partition", "offset")
"""What `--where` knows beside the fields: the recipient's domain, the cause of a failure, and where the raw record stands."""


class Found(NamedTuple):
    """A row with what it was made from."""

    record: Record
    document: dict[str, Any]
    row: Row

    def fields(self) -> dict[str, Any]:
        """The row with what stands in `FURTHER`."""
        raw, outcome, recipient = self.document.get("raw") or {}, self.document.get("outcome") or {}, self.row["recipient"]
        return {
            **self.row,
            "domain": recipient.rpartition("@")[2] if recipient else None,
            "fingerprint": outcome.get("fingerprint"),
            "topic": raw.get("topic"),
            "partition": raw.get("partition"),
            "offset": raw.get("offset"),
        }


def reply_state(event: dict[str, Any]) -> str:
    """A reply event as the field `reply` says it: `sent`, `silent:<rule>`, `given-up:<why>`."""
    return "sent" if event["status"] == "sent" else f"{event['status']}:{event.get('rule') or 'unknown'}"


def outcome_row(document: dict[str, Any], reply: str | None) -> Row:
    """The row of a facts document that has an outcome."""
    outcome = document["outcome"]
    row = _row(document)
    row["delivery_id"] = outcome["delivery_id"]
    row["recipient"] = outcome.get("recipient")
    row["status"] = outcome["status"]
    row["reason"] = outcome.get("reason")
    row["detail"] = outcome.get("detail")
    row["handler"] = outcome.get("handler")
    row["oops_id"] = outcome.get("oops_id")
    row["decided_at"] = outcome["decided_at"]
    row["reply"] = reply
    return row


def pending_row(document: dict[str, Any], stage: str) -> Row:
    """The row of what waits for a stage: status None, detail the stage."""
    row = _row(document)
    if route := document.get("route"):
        row["delivery_id"] = route["delivery_id"]
        row["recipient"] = route["recipient"]
        row["handler"] = route["handler"]
    row["detail"] = stage
    return row


def _row(document: dict[str, Any]) -> Row:
    envelope = document["envelope"]
    authentication = document.get("authentication") or {}
    replay = document.get("replay")
    return {
        "mail_id": envelope["mail_id"],
        "delivery_id": None,
        "message_id": envelope.get("message_id"),
        "envelope_sender": envelope["sender"],
        "sender": authentication.get("sender"),
        "recipient": None,
        "status": None,
        "reason": None,
        "detail": None,
        "handler": None,
        "strength": authentication.get("strength"),
        "account": authentication.get("account"),
        "oops_id": None,
        "received_at": envelope["received_at"],
        "decided_at": None,
        "generation": replay["generation"] if replay else 0,
        "reply": None,
    }
