"""The BitLocker recovery password and where to get one: one file per source, asked in turn.

Never writes, logs or prints a password, and never tries one on a volume.
Read `password.py` first.
"""
