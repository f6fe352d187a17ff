"""SMTP to the relay that takes the mails that we write (RFC 5321).

Whether an answer is about one address or about the relay is told apart here: MAIL is the same for every letter (`MAIL FROM:<>`), so
its refusal is about us and holds the role; RCPT and DATA are about the one letter.

Between the relay's 250 and our commit, a crash sends the letter again: the second is the same byte for byte, Message-ID included, so
that mailboxes which know a mail by that show one.
"""

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from postroom.outbox import SENT, Letter, Send, Verdict
from streams.faults import Hold
from topology.replies.mime import one_line

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
_TIMEOUT = 30.0
"""Seconds to wait for the answer to a command."""
_LOOK_TIMEOUT = 5.0
"""Seconds likewise, where somebody waits to hear whether the relay is there."""
_DATA_TIMEOUT = 240.0
"""Seconds to wait for the answer to the mail itself: a relay may look into it first, and one that we leave too soon gets it twice.
RFC 5321 section 4.5.3.2.6 asks for ten minutes, but after five a Kafka broker takes the partition away."""
_RCPT_TIMEOUT = 90.0
"""Seconds to wait for the answer to RCPT: a relay may ask the recipient's server first. RFC 5321 section 4.5.3.2.3 asks for five minutes,
for which all other letters would wait."""
_CREDENTIALS = frozenset({530, 534, 535, 538})
"""Codes by which a relay asks for other credentials (RFC 4954 section 6): settings are at fault, not the letter."""
_HANG_UPS = 3
"""Times that a relay may hang up on one letter before that letter, and not the relay, is taken to be at fault."""


class Relay:
    """The relay. url: smtp://host, smtp+starttls://host or smtps://host, with a port where it is not 25, 587 or 465; it may have user
    and password (percent-encoded). user, password: from elsewhere. tls: how certificates are checked, None for the system's
    authorities. Raises ValueError naming the setting at fault."""

    def __init__(self, url: str, *, user: str | None = None, password: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            self._scheme, self._host = parts.scheme, parts.hostname or ""
            self._port = parts.port or _PORTS[self._scheme]
        except (ValueError, KeyError):
            self._host = ""
        if not self._host or self._scheme not in _PORTS:
            raise ValueError(f"replies.smtp: must be {', '.join(f'{scheme}://host' for scheme in _PORTS)}, or the same with :port")
        self._user = user or unquote(parts.username or "")
        self._password = password or unquote(parts.password or "")
        if self._user and self._scheme == "smtp" and not _is_loopback(self._host):
            raise ValueError("replies.smtp: a password is not sent in the clear to another machine; use smtp+starttls:// or smtps://")
        self._tls = tls or ssl.create_default_context()
        self._hello: str | None = None
        self._hang_ups: dict[str, int] = {}

    @contextmanager
    def opened(self) -> Iterator[Send]:
        """See Outbox.opened. One connection for all letters, made for the first."""
        connection = _Connection(self)
        try:
            yield connection.send
        finally:
            connection.close()

    def look(self) -> None:
        """See Outbox.look. Greets, and logs in where there is a user."""
        with self.border():
            smtp = self.connect(_LOOK_TIMEOUT)
        _leave(smtp)

    def connect(self, timeout: float = _TIMEOUT) -> smtplib.SMTP:
        """A connection that is ready for MAIL. timeout: seconds for each answer. Raises OSError, SMTPException."""
        # The name that we greet with takes a DNS query to find, so it is looked for once.
        if self._scheme == "smtps":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, self._hello, timeout=timeout, context=self._tls)
        else:
            smtp = smtplib.SMTP(self._host, self._port, self._hello, timeout=timeout)
        try:
            self._hello = smtp.local_hostname
            if self._scheme == "smtp+starttls":
                smtp.starttls(context=self._tls)
            smtp.ehlo_or_helo_if_needed()
            if self._user:
                smtp.login(self._user, self._password)
        except BaseException:
            smtp.close()
            raise
        # For addresses outside ASCII (RFC 6531); the rest of every command is ASCII.
        smtp.command_encoding = "utf-8"
        return smtp

    @contextmanager
    def border(self) -> Iterator[None]:
        """Within it, whatever is about the relay and not about one letter comes out as Hold."""
        try:
            yield
        except smtplib.SMTPResponseException as error:  # on connecting
            self.hold(_reply(error.smtp_code, error.smtp_error))
        except (OSError, smtplib.SMTPException) as error:
            self.hold(one_line(str(error), 200))

    def hold(self, why: str) -> NoReturn:
        """The relay as a whole is away or refuses us."""
        raise Hold("relay", f"replies.smtp: {self._host}:{self._port}: {why}")

    def hung_up_often(self, reply_id: str) -> bool:
        """Counts that the relay welcomed us and then hung up on a letter, or on its recipient; whether that was once too often."""
        self._hang_ups[reply_id] = self._hang_ups.get(reply_id, 0) + 1
        return self._hang_ups[reply_id] >= _HANG_UPS

    def answered(self, reply_id: str) -> None:
        """The relay has said something of this letter."""
        self._hang_ups.pop(reply_id, None)


class _Connection:
    """The connection of one batch."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._smtp: smtplib.SMTP | None = None
        self._unfinished = False

    def send(self, letter: Letter) -> Verdict:
        """See Outbox."""
        with self._relay.border():
            smtp = self._smtp = self._smtp or self._relay.connect()
            if self._unfinished:
                smtp.rset()
            message = letter.written(eight_bit=smtp.has_extn("8bitmime"))
            if not letter.to.isascii() and not smtp.has_extn("smtputf8"):
                return Verdict("refused", "the relay offers no SMTPUTF8, which the address needs")
            self._unfinished = True
            verdict = self._mail(smtp, letter, message) or self._rcpt(smtp, letter) or self._data(smtp, letter, message)
            self._unfinished = verdict is not SENT
        self._relay.answered(letter.reply_id)
        return verdict

    def _mail(self, smtp: smtplib.SMTP, letter: Letter, message: bytes) -> Verdict | None:
        options = [f"SIZE={len(message)}"] if smtp.has_extn("size") else []
        options += ["BODY=8BITMIME"] if not message.isascii() else []
        options += ["SMTPUTF8"] if not letter.to.isascii() else []
        code, word = smtp.docmd("MAIL", " ".join(["FROM:<>", *options]))
        if code == 552:  # larger than the relay takes, by the size that we told it (RFC 1870 section 6.1)
            return Verdict("refused", _reply(code, word))
        if code // 100 != 2:
            self._relay.hold(f"refuses MAIL FROM:<>: {_reply(code, word)}")
        return None

    def _rcpt(self, smtp: smtplib.SMTP, letter: Letter) -> Verdict | None:
        if smtp.sock:
            smtp.sock.settimeout(_RCPT_TIMEOUT)
        try:
            code, word = smtp.docmd("RCPT", f"TO:<{letter.to}>")
        except (smtplib.SMTPServerDisconnected, TimeoutError) as error:
            return self._hung_up(letter, error)
        if code == 421 and self._relay.hung_up_often(letter.reply_id):
            _leave(smtp)
            self._smtp = None
            return Verdict("later", _reply(code, word))
        return None if code // 100 == 2 else self._unwelcome(code, word)

    def _data(self, smtp: smtplib.SMTP, letter: Letter, message: bytes) -> Verdict:
        if smtp.sock:
            smtp.sock.settimeout(_DATA_TIMEOUT)
        try:
            code, word = smtp.data(message)
        except smtplib.SMTPDataError as error:
            code, word = error.smtp_code, _octets(error.smtp_error)
        except (smtplib.SMTPServerDisconnected, TimeoutError) as error:
            return self._hung_up(letter, error)
        if smtp.sock:
            smtp.sock.settimeout(_TIMEOUT)
        return SENT if code == 250 else self._unwelcome(code, word)

    def _hung_up(self, letter: Letter, error: Exception) -> Verdict:
        """Raises the error, which is about the relay, unless that was once too often."""
        if not self._relay.hung_up_often(letter.reply_id):
            raise error
        self._smtp = None
        return Verdict("later", "the relay hangs up on this mail")

    def _unwelcome(self, code: int, word: bytes) -> Verdict:
        """What a refusal of one letter means; holds where it is not about the letter: the relay shuts down (421), asks for
        credentials, says nothing that is SMTP, or tells of itself (4.3.x: mail system status, RFC 3463 section 3.4)."""
        if code == 421 or code in _CREDENTIALS or not 400 <= code <= 599 or word.startswith(b"4.3."):
            self._relay.hold(_reply(code, word))
        return Verdict("later" if code < 500 else "refused", _reply(code, word))

    def close(self) -> None:
        """Says goodbye."""
        if self._smtp is not None:
            _leave(self._smtp)


def _leave(smtp: smtplib.SMTP) -> None:
    with suppress(OSError, smtplib.SMTPException):
        smtp.quit()
    smtp.close()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _octets(word: bytes | str) -> bytes:
    return word if isinstance(word, bytes) else word.encode("utf-8", "replace")


def _reply(code: int, word: bytes | str) -> str:
    """An answer of the relay in one line."""
    return one_line(f"{code} {_octets(word).decode('utf-8', 'replace')}", 200)
