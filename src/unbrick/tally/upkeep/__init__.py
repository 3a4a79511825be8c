"""What an administrator does with a tally: check it, copy it, export and import reports, run it.

Never changes a tally that is only to be looked at.
Read `check.py` first.
"""
