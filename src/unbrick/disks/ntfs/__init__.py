"""NTFS as it lies on the disk: structures, file table, journal, mirror, hibernation; and the driver.

Never believes a length or a place on the disk that was not checked.
Read `structures.py` first.
"""
