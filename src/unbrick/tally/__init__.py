"""Counts every machine, once, over SSH: the authority, the server, the store and its screens.

Never sees a disk, never gives a shell, never acknowledges what is not durable.
Read `door/intake.py` first.
"""
