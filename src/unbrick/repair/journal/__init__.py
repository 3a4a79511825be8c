"""The journal of one run: what it says, its fields, its file.

Never believes a journal on a disk: each field is checked.
Read `journal.py` first.
"""
