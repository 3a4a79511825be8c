"""Counts: runs from events, machines from runs, and the counters that the screens read.

Never commits: it works in its caller's transaction.
Read `counting.py` first.
"""
