"""What people and tools read out of the log. Nothing here writes, joins a group, or keeps a snapshot.

glance.py     single members of a facts document, taken from its bytes
rows.py       the row that `list` gives of an outcome
outcomes.py   outcomes in the order of time, with their replies, the latest generation of each
pending.py    what is still on its way, and for which stage it waits
times.py      times as people give them
selectors.py  which rows are wanted: the flags
where.py      which rows are wanted: the expression
options.py    the flags as options of a command
finding.py    a mail by any of its ids, and every record of it
timeline.py   a mail's records as a story
failures.py   failures by their cause
fsck.py       the accounts: what came in, and what became of it
ledger.py     the marks that fsck keeps of a partition's mails
render.py     lines for people, safe against what mails contain
"""
