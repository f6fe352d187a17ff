"""How mails come in: listeners, pipe and import. Whatever the way, a mail is accepted when `Acceptor.accept` has returned."""
