"""Finds disks, their partitions and volumes, says what each is, unlocks BitLocker and mounts NTFS.

Never decides what to repair, and never writes to what it does not recognise.
Read `discover.py` first.
"""
