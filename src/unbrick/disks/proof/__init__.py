"""Proves, before the first byte is written, that a change writes only to what it names.

Never writes.
Read `ownership.py` first.
"""
