"""What a disk and its volumes are, by their own bytes.

Never writes, and never trusts a partition type where it allows something.
Read `verdict.py` first.
"""
