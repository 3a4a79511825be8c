"""What happens to a machine is told from here: recorded, signed, kept in an outbox, sent to the tally.
The tally is asked from here, too.

Never looks at a disk, never decides anything, and never stops or delays the work on one.
Read `recorder.py` first, then `link.py`.
"""
