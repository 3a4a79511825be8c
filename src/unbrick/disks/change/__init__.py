"""A view of an NTFS volume, and a change that reaches the disk whole or not at all.

Never writes to a disk what was not rehearsed on a copy and proved there.
Read `rehearsal.py` first.
"""
