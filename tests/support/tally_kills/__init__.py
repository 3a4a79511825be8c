"""A tally that is killed under load, again and again, with its files harmed in between: is every loss said?

Judges with SQLite itself and a client that shares no code with the package (`support.outside`).
Never asserts a time. Read `rounds.py` first.
"""
