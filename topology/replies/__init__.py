"""The mails that we write: when to stay silent, the words, the message, and the original attached to it.

`silence` decides whether anybody is written to; `templates` has the words; `compose` builds the message on bytes; `attach` puts the
original behind it; `limits` counts; `stow` keeps large messages in the archive. All of it is pure, but for the archive: the same
facts and bytes give the same mail, byte for byte.
"""
