"""Plan, journal, quarantine, undo, verify: the only room that changes a Windows volume.

Never deletes and never begins what it cannot finish.
Read `plan.py` first.
"""
