"""Finds disks, their partitions and volumes, identifies each, unlocks BitLocker and mounts NTFS.

Never decides what to repair, and never writes to what it does not recognise.
Read `discover.py` first.
"""
