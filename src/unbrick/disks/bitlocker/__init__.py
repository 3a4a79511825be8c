"""A BitLocker volume: its metadata, its keys, and opening it.

Never writes a password or a key anywhere, and never trusts metadata that contradicts itself.
Read `metadata.py` first.
"""
