"""NTFS on the disk: structures, file table, journal, mirror, hibernation; and the driver.

Never trusts a length or an offset from the disk that was not checked.
Read `structures.py` first.
"""
