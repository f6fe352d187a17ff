"""What people and tools read out of the log. Nothing here writes, joins a group, or keeps a snapshot.

rows, one an outcome
    rows.py       the row that `list` gives
    outcomes.py   outcomes in the order of time, with their replies, the latest generation of each
    pending.py    what is still on its way, and for which stage it waits
    tail.py       the last outcomes, and new ones as they come
    failures.py   failures by their cause

which of them
    selectors.py  the flags
    where.py      the expression
    times.py      times as people give them
    options.py    the flags as options of a command

one mail
    finding.py    which mail an id means
    gathering.py  every record of it
    timeline.py   its records as a story
    evidence.py   what authentication looked at, in words
    documents.py  its JSON, its bytes, its error report

the accounts
    fsck.py       what came in, and what became of it
    cut.py        where everything stood before anything was read
    look.py       one look at the whole log
    ledger.py     what is noted of the mails of one partition, and what follows from it
    faults.py     a fault, and how it is told

glance.py         single members of a facts document, taken from its bytes
render.py         text in parts that have a style, made safe where it leaves
draw.py           stories as lines, and for a terminal
out.py            standard output
"""
