"""Repair, undo, purge: the only room that changes a Windows volume.

Never deletes what no person has told it to; works on a copy, which reaches the disk whole or not at all
(`disks/change/rehearsal.py`).
Read `repair.py` first, then `actions/kind.py`.
"""
