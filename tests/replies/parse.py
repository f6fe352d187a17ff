"""Reading our mails back with the standard library's parser, and what must hold for every one of them (ACCEPTANCE.md, R2)."""

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

_STRICT = policy.SMTP.clone(utf8=True)


def parsed(message: bytes) -> EmailMessage:
    """The message as the standard parser reads it; fails where it sees a defect of ours."""
    found = BytesParser(policy=_STRICT).parsebytes(message)
    assert isinstance(found, EmailMessage)
    assert not found.defects
    for part in ours(found):
        assert not part.defects
    return found


def ours(message: EmailMessage) -> list[EmailMessage]:
    """The parts that we made: all but what is inside an attached original."""
    found = [message]
    for part in message.iter_parts() if message.get_content_maintype() == "multipart" else ():
        assert isinstance(part, EmailMessage)
        found += ours(part)
    return found


def must_be_valid(message: bytes) -> EmailMessage:
    """Holds a whole mail of ours against what every mail of ours is; gives it parsed."""
    assert message.endswith(b"\r\n")
    assert message.count(b"\r") == message.count(b"\n") == message.count(b"\r\n")
    assert b"\0" not in message
    assert max(map(len, message.split(b"\r\n"))) <= 998
    found = parsed(message)
    assert message.isascii() or "8bit" in found.get("Content-Transfer-Encoding", "") or not found["To"].isascii()
    head = message.partition(b"\r\n\r\n")[0]
    assert len(head.split(b"\r\n")) == len([line for line in head.split(b"\r\n") if line])
    for name, value in (("Auto-Submitted", "auto-replied"), ("Precedence", "bulk"), ("X-Auto-Response-Suppress", "All")):
        assert found.get_all(name) == [value]
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "X-Postroom-Reply"):
        assert len(found.get_all(name, [])) == 1, name
    return found


def first_text(message: EmailMessage) -> str:
    """The text of the first part, with LF line ends."""
    part = next(iter(message.iter_parts()), message)
    assert isinstance(part, EmailMessage)
    assert part.get_content_type() == "text/plain"
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def last_part(message: EmailMessage) -> EmailMessage:
    """The last part."""
    part = list(message.iter_parts())[-1]
    assert isinstance(part, EmailMessage)
    return part
