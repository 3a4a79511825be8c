"""Plan, journal, quarantine, undo, verify: the only room that changes a Windows volume.

Never deletes; works on a copy, which reaches the disk whole or not at all (`disks/change/rehearsal.py`).
Read `apply.py` first, then `actions/kind.py`.
"""
