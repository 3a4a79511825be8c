"""The disk of a simulated machine: partitions, NTFS, registry hives, the state Windows left it in.

Never writes outside the folder that it is given.
Read `machine_disk.py` first.
"""
