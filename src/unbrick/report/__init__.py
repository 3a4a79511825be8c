"""Reports what happens to a machine: recorded, signed, kept in an outbox, sent to the tally; asks it, too.

Never looks at a disk, never decides anything, and never stops or delays the work on one.
Read `recorder.py` first, then `link.py`.
"""
