"""Encrypts a drill's NTFS volume in place, as BitLocker does.

Never serves a real disk: its keys are made up and written down.
Read `encrypt.py` first.
"""
